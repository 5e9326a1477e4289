// The factor of an RMS norm, in the CPU's order of sums (kernels/float_ops-inl.h, rms_norm).
#pragma once

#include "backend/cuda/float_ops.h"

namespace s3d::S3D_CUDA_NS {

// Chains of a sum: chain i has the elements i, i + kSumChains, …; the chains are added as a tree.
constexpr int kSumChains = 16;

// Adds the chains of a sum: lane i has that of elements i mod 32, or i mod 16; every lane gets the result.
S3D_DEVICE float add_chains(float sum) {
  for (unsigned half = kSumChains < 32 ? kSumChains / 2 : 16; half > 0; half /= 2) {
    sum = add(sum, shuffle_xor_float(sum, half));
  }
  return sum;
}

// 1 / sqrt(mean(x²) + eps) of x[0, n), which all lanes of the warp can read and get.
S3D_DEVICE float norm_factor(const float* x, int n, float eps) {
  const int lane = static_cast<int>(lane_of_warp()) % kSumChains;
  float sum = 0, upper = 0;
  for (int i = lane; i < n; i += kSumChains) sum = fma(x[i], x[i], sum);
  if constexpr (kSumChains == 64) {
    for (int i = lane + 32; i < n; i += kSumChains) upper = fma(x[i], x[i], upper);
    sum = add(sum, upper);
  }
  const float mean = div(add_chains(sum), to_float(n));
  return div(1.0F, square_root(add(mean, eps)));
}

}  // namespace s3d::S3D_CUDA_NS
