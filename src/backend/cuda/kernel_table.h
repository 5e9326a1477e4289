// The kernels of one kind of device, as functions that a host calls. Each starts its kernels on a stream, in order, and
// returns at once; pointers in the tasks are addresses on the device.
#pragma once

#include "backend/cuda/tasks.h"

namespace s3d::cuda {

struct KernelTable {
  void (*matmul)(void* stream, const MatmulTask& task);
  void (*rows)(void* stream, const RowsTask& task);
  void (*place)(void* stream, const PlaceTask& task);
  void (*attention)(void* stream, const AttentionTask& task);
  void (*choose)(void* stream, const ChooseTask& task);
  void (*moves)(void* stream, const MoveTask& task);
};

}  // namespace s3d::cuda

namespace s3d::cuda_emulated {
extern const cuda::KernelTable kKernels;  // `stream`: an emulator::Emulator
}
namespace s3d::cuda_device {
extern const cuda::KernelTable kKernels;  // `stream`: a cudaStream_t
}
