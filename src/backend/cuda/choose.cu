// The best token of each row of logits, so that the logits need not leave the device.
#include "backend/cuda/float_ops.h"
#include "backend/cuda/launchers.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::ChooseTask;

constexpr unsigned kThreads = 256;

struct Best {
  float value;
  int32_t token;
};
S3D_DEVICE Best better(const Best& a, const Best& b) {
  return b.value > a.value || (b.value == a.value && b.token < a.token) ? b : a;
}
S3D_DEVICE Best best_of_warp(Best best) {
  for (unsigned mask = 16; mask > 0; mask /= 2) {
    const float value = shuffle_xor_float(best.value, mask);
    const auto token = static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(best.token), mask));
    best = better(best, {value, token});
  }
  return best;
}

// The first of equals. NaN is never larger: who must see it looks at the logits.
__global__ void __launch_bounds__(kThreads) choose_kernel(const ChooseTask task) {
  const float* logits = task.logits + static_cast<size_t>(blockIdx.x) * task.vocab;
  auto* shared = reinterpret_cast<Best*>(block_shared());
  Best best{from_bits(0xff800000U), 0};
  for (int i = static_cast<int>(threadIdx.x); i < task.vocab; i += static_cast<int>(kThreads)) {
    best = better(best, {logits[i], i});
  }
  best = best_of_warp(best);
  if (lane_of_warp() == 0) shared[warp_of_block()] = best;
  __syncthreads();
  if (warp_of_block() != 0) return;
  best = best_of_warp(shared[lane_of_warp() % (kThreads / kWarpLanes)]);
  if (lane_of_warp() == 0) task.best[blockIdx.x] = best.token;
}

}  // namespace

void launch_choose(void* stream, const ChooseTask& task) {
  const cuda::Grid grid{static_cast<unsigned>(task.n), 1, 1};
  S3D_LAUNCH(stream, choose_kernel, grid, kThreads, sizeof(Best) * (kThreads / kWarpLanes), task);
}

}  // namespace s3d::S3D_CUDA_NS
