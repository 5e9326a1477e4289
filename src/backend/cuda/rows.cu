// What happens to a row between two products: norm or activation function, the residual sum, and storing the row as the
// input of the next product. One block does a row, or a part of it where no step needs the whole.
#include "backend/cuda/float_ops.h"
#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/norm.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::RowsTask;
using cuda::RowStep;
using cuda::StoredInput;

constexpr unsigned kThreads = 256;
constexpr int kPerLane = 8;                 // columns of a lane
constexpr int kPerWarp = kPerLane * 32;     // of a warp at a time: a block of the format with 256 columns a scale
constexpr int kPartColumns = kPerWarp * 8;  // of a block of threads, where a row is divided

// Eight columns of a row, from `column` on (a multiple of 8), of which those below `cols` are there.
struct Eight {
  float v[kPerLane];
  int column;
};

S3D_DEVICE void store_floats(const StoredInput& stored, const RowsTask& task, int row, const Eight& x) {
  float* to = stored.f + (static_cast<size_t>(row / 8) * static_cast<size_t>(task.cols) * 8) + row % 8;
  for (int i = 0; i < kPerLane; ++i) {
    if (x.column + i < task.cols) to[static_cast<size_t>(x.column + i) * 8] = x.v[i];
  }
}

// Largest magnitude of `lanes` neighbouring lanes' columns.
S3D_DEVICE float largest_of(const Eight& x, unsigned lanes) {
  uint32_t largest = 0;
  for (int i = 0; i < kPerLane; ++i) largest = max2(largest, magnitude_bits(x.v[i]));
  for (unsigned mask = 1; mask < lanes; mask *= 2) largest = max2(largest, shuffle_xor(largest, mask));
  return from_bits(largest);
}

// Eight columns as int8: two words in the order of the fragments; returns their sum.
S3D_DEVICE int32_t store_int8(int8_t* q, const RowsTask& task, int row, const Eight& x, float largest) {
  const float inverse = inverse_scale(largest);
  int32_t sum = 0;
  uint32_t words[2] = {};
  for (int i = 0; i < kPerLane; ++i) {
    const int32_t value = to_int8(x.v[i], inverse);
    sum += value;
    words[i / 4] |= (static_cast<uint32_t>(value) & 0xffU) << (i % 4 * 8);
  }
  if (x.column >= task.cols) return sum;
  const size_t pairs = cuda::pairs_of(static_cast<size_t>(task.cols)), octet = static_cast<size_t>(row) / 8;
  int8_t* to = q + octet * pairs * 512;
  for (int w = 0; w < 2; ++w) {
    const size_t at = cuda::fragment_byte(static_cast<size_t>(row) % 8, static_cast<size_t>(x.column + 4 * w));
    *reinterpret_cast<uint32_t*>(to + at) = words[w];
  }
  return sum;
}

S3D_DEVICE void store_q32(const StoredInput& stored, const RowsTask& task, int row, const Eight& x) {
  const float largest = largest_of(x, 4);
  int32_t sum = store_int8(stored.q32, task, row, x, largest);
  sum += static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum), 1));
  sum += static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum), 2));
  if (lane_of_warp() % 4 != 0 || x.column >= task.cols) return;
  const size_t pieces = cuda::pairs_of(static_cast<size_t>(task.cols)) * 2;
  const size_t at = (static_cast<size_t>(row / 8) * pieces + static_cast<size_t>(x.column / 32)) * 8 + row % 8;
  reinterpret_cast<uint2*>(stored.scale32)[at] = {bits_of(div(largest, 127.0F)), static_cast<uint32_t>(sum)};
}

S3D_DEVICE void store_q256(const StoredInput& stored, const RowsTask& task, int row, const Eight& x) {
  const float largest = largest_of(x, 32);
  const int32_t sum8 = store_int8(stored.q256, task, row, x, largest);
  const int32_t sum16 = sum8 + static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum8), 1));
  const int32_t sum32 = sum16 + static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum16), 2));
  if (x.column >= task.cols) return;
  const size_t blocks = static_cast<size_t>(task.cols) / 256;
  const size_t at = (static_cast<size_t>(row / 8) * blocks + static_cast<size_t>(x.column / 256)) * 8 + row % 8;
  const unsigned lane = lane_of_warp();
  if (lane % 2 == 0) stored.sums16[at * 16 + lane / 2] = static_cast<int16_t>(sum16);
  if (lane % 4 == 0) stored.sums32[at * 8 + lane / 4] = static_cast<int16_t>(sum32);
  if (lane == 0) stored.scale256[at] = div(largest, 127.0F);
}

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
    if (task.stored.f != nullptr) store_floats(task.stored, task, row, eight);
    if (task.stored.q32 != nullptr) store_q32(task.stored, task, row, eight);
    if (task.stored.q256 != nullptr) store_q256(task.stored, task, row, eight);
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
