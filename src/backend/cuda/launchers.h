// The functions that start the kernels, in the namespace of the device that the including file is compiled for.
#include "backend/cuda/device_code.h"
#include "backend/cuda/tasks.h"

namespace s3d::S3D_CUDA_NS {

void launch_matmul(void* stream, const cuda::MatmulTask& task);
void launch_rows(void* stream, const cuda::RowsTask& task);
void launch_place(void* stream, const cuda::PlaceTask& task);
void launch_attention(void* stream, const cuda::AttentionTask& task);
void launch_choose(void* stream, const cuda::ChooseTask& task);
void launch_moves(void* stream, const cuda::MoveTask& task);

}  // namespace s3d::S3D_CUDA_NS
