// What happens to a row between two products: norm or activation function, the residual sum, and storing the row as the
// input of the next product. One block does a row, or a part of it where no step needs the whole.
#include "backend/cuda/float_ops.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/norm.h"
#include "backend/cuda/stored_rows.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::RowsTask;
using cuda::RowStep;

constexpr unsigned kThreads = 256;
constexpr int kPartColumns = kPerWarp * 8;  // of a block of threads, where a row is divided

S3D_DEVICE float step_value(const RowsTask& task, const float* x, int row, int column, float factor) {
  const float value = x[column];
  switch (task.step) {
    case RowStep::kNorm:
      return mul(mul(value, factor), task.weight[column]);
    case RowStep::kSiluMul:
      return mul(silu(value), task.other[static_cast<size_t>(row) * task.cols + column]);
    case RowStep::kGeluMul:
      return mul(gelu_tanh(value), task.other[static_cast<size_t>(row) * task.cols + column]);
    default:
      return value;
  }
}

__global__ void __launch_bounds__(kThreads, 1) rows_kernel(const RowsTask task) {
  let_next_start();
  wait_for_previous();
  const int row = static_cast<int>(blockIdx.y);
  const int begin = static_cast<int>(blockIdx.x) * (gridDim.x == 1 ? 0 : kPartColumns);
  const int end = gridDim.x == 1 || begin + kPartColumns > task.cols ? task.cols : begin + kPartColumns;
  const float* x = task.x + static_cast<size_t>(task.index == nullptr ? row : task.index[row]) *
                                (task.x_stride == 0 ? task.cols : task.x_stride);
  float factor = 0;
  if (task.step == RowStep::kNorm) {
    auto* staged = reinterpret_cast<float*>(block_shared());
    for (int i = static_cast<int>(threadIdx.x); i < task.cols; i += kThreads) staged[i] = x[i];
    __syncthreads();
    x = staged;
    factor = norm_factor(staged, task.cols, task.eps);  // every warp for itself: a barrier would cost more
  }
  const bool adds = task.residual != nullptr && (task.only == nullptr || task.only[row] != 0);
  const size_t line = static_cast<size_t>(row) * static_cast<size_t>(task.cols);
  for (int at = begin + static_cast<int>(warp_of_block()) * kPerWarp; at < end;
       at += static_cast<int>(warps_of_block()) * kPerWarp) {
    Eight eight;
    eight.column = at + static_cast<int>(lane_of_warp()) * kPerLane;
    for (int i = 0; i < kPerLane; ++i) {
      const int column = eight.column + i;
      eight.v[i] = column < task.cols ? step_value(task, x, row, column, factor) : 0.0F;
      if (column >= task.cols) continue;
      if (task.out != nullptr) task.out[line + column] = eight.v[i];
      if (adds) task.residual[line + column] = add(task.residual[line + column], eight.v[i]);
    }
    store(task.stored, task.cols, row, eight);
  }
}

}  // namespace

void launch_rows(void* stream, const RowsTask& task) {
  const bool whole = task.step == RowStep::kNorm;
  const auto parts = static_cast<unsigned>((task.cols + kPartColumns - 1) / kPartColumns);
  const cuda::Grid grid{whole ? 1 : parts, static_cast<unsigned>(task.n), 1};
  const size_t shared = whole ? static_cast<size_t>(task.cols) * sizeof(float) : 0;
  S3D_LAUNCH(stream, rows_kernel, grid, kThreads, shared, task);
}

}  // namespace s3d::S3D_CUDA_NS
