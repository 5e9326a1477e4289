// Bodies of the float kernels, over F32x16 (kernels/simd.h). Included by isa_*.cc after simd.h.
//
// No templates or inline functions of the standard library here: the linker would be free to use the copy compiled for
// the newest instruction set everywhere.
#include "kernels/float_ops.h"

namespace s3d::S3D_ISA_NS {

constexpr size_t kLanes = 16;

// The first n < 16 lanes from memory, the others zero.
inline F32x16 load_first(const float* p, size_t n) {
  alignas(64) float x[kLanes] = {};
  for (size_t i = 0; i < n; ++i) x[i] = p[i];
  return load(x);
}
inline void store_first(float* p, size_t n, F32x16 a) {
  alignas(64) float x[kLanes];
  store(x, a);
  for (size_t i = 0; i < n; ++i) p[i] = x[i];
}

// out[i] = f(x[i]) and out[i] = f(x[i], y[i]), sixteen at a time; out may be x or y.
template <typename F>
inline void map(const float* x, size_t n, float* out, F f) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, f(load(x + i)));
  if (i < n) store_first(out + i, n - i, f(load_first(x + i, n - i)));
}
template <typename F>
inline void map2(const float* x, const float* y, size_t n, float* out, F f) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, f(load(x + i), load(y + i)));
  if (i < n) store_first(out + i, n - i, f(load_first(x + i, n - i), load_first(y + i, n - i)));
}

// q[0, count) = x * 127 / largest, ties to even, 0 where largest is 0. Count is a multiple of 16, `largest` the largest
// magnitude; a product above 127 can only come from an infinite or denormal one.
inline F32x16 scaled_to_i8(F32x16 x, F32x16 inverse) {
  return max(min(mul(x, inverse), set1(127.0F)), set1(-127.0F));
}
inline F32x16 inverse_scale(float largest) {
  return set1(largest > 0.0F ? 127.0F / largest : 0.0F);
}
inline void store_scaled_i8(const float* x, size_t count, float largest, int8_t* q) {
  const F32x16 inverse = inverse_scale(largest);
  for (size_t i = 0; i < count; i += kLanes) store_i8_rounded(q + i, scaled_to_i8(load(x + i), inverse));
}

// e^x to within 1 unit in the last place (measured over all floats of the range), x clamped to [-87, 88]; exactly 1 at
// 0; NaN stays NaN. x = k ln 2 + r with |r| <= ln(2) / 2; the polynomial is the Taylor series to r^7, whose remainder
// is below 2^-27 there; ln 2 is split in two so that r keeps its bits (Cody and Waite).
inline F32x16 exp16(F32x16 x) {
  // The operand order matters: max and min return the second operand when one is NaN.
  const F32x16 c = min(set1(88.0F), max(set1(-87.0F), x));
  const F32x16 k = round_even(max(min(mul(c, set1(1.44269504F)), set1(127.0F)), set1(-126.0F)));
  F32x16 r = fma(k, set1(-0.693359375F), c);
  r = fma(k, set1(2.12194440e-4F), r);
  F32x16 p = set1(1.0F / 5040);
  p = fma(p, r, set1(1.0F / 720));
  p = fma(p, r, set1(1.0F / 120));
  p = fma(p, r, set1(1.0F / 24));
  p = fma(p, r, set1(1.0F / 6));
  p = fma(p, r, set1(0.5F));
  p = fma(p, mul(r, r), r);
  return mul(add(p, set1(1.0F)), exp2_integral(k));
}
inline float exp1(float x) {
  alignas(64) float y[kLanes];
  store(y, exp16(set1(x)));
  return y[0];
}

// x / (1 + e^-u)
inline F32x16 times_sigmoid(F32x16 x, F32x16 u) {
  return div(x, add(set1(1.0F), exp16(sub(zero(), u))));
}
inline F32x16 silu(F32x16 x) {
  return times_sigmoid(x, x);
}
// x/2 (1 + tanh u) = x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x³): no cancellation for negative x.
inline F32x16 gelu_tanh(F32x16 x) {
  const F32x16 cubic = fma(mul(x, x), mul(x, set1(0.044715F)), x);
  return times_sigmoid(x, mul(cubic, set1(2 * 0.797884561F)));
}

// A sum in 64 chains: its number i belongs to chain i mod 64. Two numbers for each lane of a GPU's warp, and four
// registers here, none of which waits for another.
struct Chains {
  static constexpr size_t kCount = 64;
  F32x16 v[4];
};
inline Chains no_chains() {
  return {{zero(), zero(), zero(), zero()}};
}
// The chains' sum as a tree: i with i + 32, then i + 16, i + 8, i + 4, i + 2, i + 1.
inline float reduce_add(const Chains& c) {
  return reduce_add(add(add(c.v[0], c.v[2]), add(c.v[1], c.v[3])));
}

inline void add_square(F32x16 a, F32x16& sum) {
  sum = fma(a, a, sum);
}
// Sum of squares. Numbers beyond the end count as zeros, which change nothing.
inline float sum_squares(const float* x, size_t n) {
  Chains sum = no_chains();
  size_t i = 0;
  for (; i + Chains::kCount <= n; i += Chains::kCount) {
    for (size_t c = 0; c < 4; ++c) add_square(load(x + i + c * kLanes), sum.v[c]);
  }
  for (size_t c = 0; c < 4 && i < n; ++c, i += kLanes) {
    add_square(i + kLanes <= n ? load(x + i) : load_first(x + i, n - i), sum.v[c]);
  }
  return reduce_add(sum);
}

inline void rms_norm(const float* x, const float* weight, float eps, size_t n, float* out) {
  const float mean = sum_squares(x, n) / static_cast<float>(n);
  const F32x16 factor = set1(1.0F / __builtin_sqrtf(mean + eps));
  map2(x, weight, n, out, [&](F32x16 a, F32x16 w) { return mul(mul(a, factor), w); });
}

inline void add_to(const float* x, size_t n, float* y) {
  map2(y, x, n, y, [](F32x16 a, F32x16 b) { return add(a, b); });
}
// tanh(z) = 1 - 2 / (e^2z + 1): its error near zero, one unit at 1, is one unit at `cap` in the result. Infinity, which
// a sound model does not have, becomes NaN instead of the cap (a - a), so that it is seen.
inline void softcap(float cap, size_t n, float* y) {
  const F32x16 twice_inverse = set1(2.0F / cap);
  map(y, n, y, [&](F32x16 a) {
    const F32x16 e = exp16(mul(a, twice_inverse));
    return add(mul(set1(cap), sub(set1(1.0F), div(set1(2.0F), add(e, set1(1.0F))))), sub(a, a));
  });
}
inline void silu_mul(const float* gate, const float* up, size_t n, float* out) {
  map2(gate, up, n, out, [](F32x16 g, F32x16 u) { return mul(silu(g), u); });
}
inline void gelu_tanh_mul(const float* gate, const float* up, size_t n, float* out) {
  map2(gate, up, n, out, [](F32x16 g, F32x16 u) { return mul(gelu_tanh(g), u); });
}
inline void exp_all(const float* x, size_t n, float* out) {
  map(x, n, out, [](F32x16 a) { return exp16(a); });
}

// Plain loops: each element is one product and one fused multiply-add, which compilers vectorise as they like.
inline void rope_interleaved(const float* __restrict cos, const float* __restrict sin, size_t pairs,
                             float* __restrict head) {
  for (size_t i = 0; i < pairs; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = __builtin_fmaf(a, cos[i], -(b * sin[i]));
    head[2 * i + 1] = __builtin_fmaf(b, cos[i], a * sin[i]);
  }
}
inline void rope_split(const float* __restrict cos, const float* __restrict sin, size_t pairs, float* __restrict head) {
  float* __restrict upper = head + pairs;
  for (size_t i = 0; i < pairs; ++i) {
    const float a = head[i], b = upper[i];
    head[i] = __builtin_fmaf(a, cos[i], -(b * sin[i]));
    upper[i] = __builtin_fmaf(b, cos[i], a * sin[i]);
  }
}

}  // namespace s3d::S3D_ISA_NS
