// The table of kernels of the device that this file is compiled for.
#include "backend/cuda/kernel_table.h"
#include "backend/cuda/launchers.h"

namespace s3d::S3D_CUDA_NS {

extern const cuda::KernelTable kKernels = {
    .matmul = launch_matmul,
    .rows = launch_rows,
    .place = launch_place,
    .attention = launch_attention,
    .choose = launch_choose,
    .moves = launch_moves,
};

}  // namespace s3d::S3D_CUDA_NS
