// The 8-bit rounding of activations and cached values, in plain code for the reference.
#pragma once

#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace s3d {

// A block of numbers x is kept as quants q = x * (127 / max|x|), rounded to an integer, ties to even, and a scale
// max|x| / 127. All in floats, as the kernels do it.
struct Int8Rounding {
  float inverse;
  float scale;
  float quant(double x) const { return std::nearbyint(static_cast<float>(x) * inverse); }
};

// `half_scale`: the scale is stored as a half float, as the cache does.
inline Int8Rounding int8_rounding(const double* x, size_t n, bool half_scale) {
  float max = 0;
  for (size_t k = 0; k < n; ++k) max = std::max(max, std::abs(static_cast<float>(x[k])));
  const float scale = max / 127.0F;
  return {.inverse = max > 0 ? 127.0F / max : 0.0F,
          .scale = half_scale ? ggml_fp16_to_fp32(ggml_fp32_to_fp16(scale)) : scale};
}

}  // namespace s3d
