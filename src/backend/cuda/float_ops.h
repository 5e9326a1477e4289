// One float at a time, with the rounding of kernels/simd.h: the same bits as the CPU's kernels. Each function is one
// IEEE operation, or the same formula in the same order as its namesake in kernels/float_ops-inl.h. Device code uses no
// other arithmetic on floats (docs/gpu.md, "Rules for bits").
#pragma once

#include "backend/cuda/device_code.h"

namespace s3d::S3D_CUDA_NS {

#if defined(__CUDACC__)

S3D_DEVICE float add(float a, float b) {
  return __fadd_rn(a, b);
}
S3D_DEVICE float sub(float a, float b) {
  return __fsub_rn(a, b);
}
S3D_DEVICE float mul(float a, float b) {
  return __fmul_rn(a, b);
}
S3D_DEVICE float fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
S3D_DEVICE float div(float a, float b) {
  return __fdiv_rn(a, b);
}
S3D_DEVICE float square_root(float a) {
  return __fsqrt_rn(a);
}
S3D_DEVICE float round_even(float a) {
  float r;
  asm("cvt.rni.f32.f32 %0, %1;" : "=f"(r) : "f"(a));
  return r;
}
S3D_DEVICE int32_t to_int(float a) {  // of a whole number
  return __float2int_rn(a);
}
S3D_DEVICE float to_float(int32_t a) {
  return __int2float_rn(a);
}
S3D_DEVICE uint32_t bits_of(float a) {
  return __float_as_uint(a);
}
S3D_DEVICE float from_bits(uint32_t a) {
  return __uint_as_float(a);
}
S3D_DEVICE float half_to_float(uint32_t half) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(static_cast<uint16_t>(half)));
  return r;
}
S3D_DEVICE uint16_t float_to_half(float a) {
  uint16_t r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(a));
  return r;
}

#else

inline float add(float a, float b) {
  return a + b;
}
inline float sub(float a, float b) {
  return a - b;
}
inline float mul(float a, float b) {
  return a * b;
}
inline float fma(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float div(float a, float b) {
  return a / b;
}
inline float square_root(float a) {
  return std::sqrt(a);
}
inline float round_even(float a) {
  return std::nearbyint(a);
}
inline int32_t to_int(float a) {
  return a >= -2147483648.0F && a < 2147483648.0F ? static_cast<int32_t>(a) : 0;
}
inline float to_float(int32_t a) {
  return static_cast<float>(a);
}
inline uint32_t bits_of(float a) {
  return std::bit_cast<uint32_t>(a);
}
inline float from_bits(uint32_t a) {
  return std::bit_cast<float>(a);
}
inline float half_to_float(uint32_t half) {
  return ggml_fp16_to_fp32(static_cast<ggml_fp16_t>(half));
}
inline uint16_t float_to_half(float a) {
  return ggml_fp32_to_fp16(a);
}

#endif

// As the x86 instructions: the second operand when either is NaN.
S3D_DEVICE float max2(float a, float b) {
  return a > b ? a : b;
}
S3D_DEVICE float min2(float a, float b) {
  return a < b ? a : b;
}
// The bits of a magnitude; compared as integers, NaN is above infinity, so that none gets lost.
S3D_DEVICE uint32_t magnitude_bits(float a) {
  return bits_of(a) & 0x7fffffffU;
}
S3D_DEVICE uint32_t max2(uint32_t a, uint32_t b) {
  return a > b ? a : b;
}
S3D_DEVICE float negate(float a) {
  return sub(0.0F, a);
}

S3D_DEVICE float shuffle_xor_float(float x, unsigned mask) {
  return from_bits(shuffle_xor(bits_of(x), mask));
}

// kernels/float_ops-inl.h, exp16.
S3D_DEVICE float exponential(float x) {
  const float c = min2(88.0F, max2(-87.0F, x));
  const float k = round_even(max2(min2(mul(c, 1.44269504F), 127.0F), -126.0F));
  float r = fma(k, -0.693359375F, c);
  r = fma(k, 2.12194440e-4F, r);
  float p = 1.0F / 5040;
  p = fma(p, r, 1.0F / 720);
  p = fma(p, r, 1.0F / 120);
  p = fma(p, r, 1.0F / 24);
  p = fma(p, r, 1.0F / 6);
  p = fma(p, r, 0.5F);
  p = fma(p, mul(r, r), r);
  return mul(add(p, 1.0F), from_bits(static_cast<uint32_t>(to_int(k) + 127) << 23));
}
// x / (1 + e^-u)
S3D_DEVICE float times_sigmoid(float x, float u) {
  return div(x, add(1.0F, exponential(negate(u))));
}
S3D_DEVICE float silu(float x) {
  return times_sigmoid(x, x);
}
S3D_DEVICE float gelu_tanh(float x) {
  const float cubic = fma(mul(x, x), mul(x, 0.044715F), x);
  return times_sigmoid(x, mul(cubic, 2 * 0.797884561F));
}
S3D_DEVICE float soft_cap(float cap, float twice_inverse, float a) {  // twice_inverse: 2 / cap
  const float e = exponential(mul(a, twice_inverse));
  return add(mul(cap, sub(1.0F, div(2.0F, add(e, 1.0F)))), sub(a, a));
}

// q = x * inverse, to even and within ±127, where inverse = 127 / largest, or 0 where nothing is there.
S3D_DEVICE float inverse_scale(float largest) {
  return largest > 0.0F ? div(127.0F, largest) : 0.0F;
}
S3D_DEVICE int32_t to_int8(float x, float inverse) {
  return to_int(round_even(max2(min2(mul(x, inverse), 127.0F), -127.0F)));
}

}  // namespace s3d::S3D_CUDA_NS
