// The factor of an RMS norm, in the CPU's order of sums (kernels/float_ops-inl.h, rms_norm).
#pragma once

#include "backend/cuda/float_ops.h"

namespace s3d::S3D_CUDA_NS {

// Chains of a sum: chain i has the elements i, i + 64, …; the chains are added as a tree. A lane has two of them.
constexpr int kSumChains = 64;

// The sum of the chains, `lower` that of chain `lane`, `upper` that of chain `lane` + 32; for every lane.
S3D_DEVICE float add_chains(float lower, float upper) {
  float sum = add(lower, upper);
  for (unsigned half = 16; half > 0; half /= 2) sum = add(sum, shuffle_xor_float(sum, half));
  return sum;
}

// 1 / sqrt(mean(x²) + eps) of x[0, n), which all lanes of the warp can read and get.
S3D_DEVICE float norm_factor(const float* x, int n, float eps) {
  const int lane = static_cast<int>(lane_of_warp());
  float lower = 0, upper = 0;
  for (int i = lane; i < n; i += kSumChains) {
    lower = fma(x[i], x[i], lower);
    if (i + 32 < n) upper = fma(x[i + 32], x[i + 32], upper);
  }
  const float mean = div(add_chains(lower, upper), to_float(n));
  return div(1.0F, square_root(add(mean, eps)));
}

}  // namespace s3d::S3D_CUDA_NS
