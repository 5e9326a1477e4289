// F32x16: sixteen float lanes, the same operations with the same rounding on every instruction set.
//
// Included only by isa_*.cc, which define one of S3D_ISA_AVX512, S3D_ISA_AVX2 or neither (portable), and S3D_ISA_NS,
// the namespace that keeps the copies apart. Float kernels are written once over this type; all operations here are
// IEEE-exact (add, mul, fma, max, conversions), so that every instruction set computes the same bits.
#ifndef S3D_ISA_NS
#error "define S3D_ISA_NS before including simd.h"
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(S3D_ISA_SIMDE)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include "kernels/simde/missing.h"
#elif defined(S3D_ISA_AVX512) || defined(S3D_ISA_AVX2)
#include <immintrin.h>
#else
#include <ggml.h>  // half <-> float conversion
#endif

// For helpers that take sums by pointer, and what they call: not inlined, the sums go through memory. g++ 12 stores one
// after each product then, because it may be what the activations' bytes are read from. Where speed does not matter it
// is left out: with it, the sanitizers' build of these files takes minutes.
#if defined(S3D_ISA_SIMDE) || defined(__SANITIZE_ADDRESS__)
#define S3D_INLINED
#else
#define S3D_INLINED __attribute__((always_inline))
#endif

namespace s3d::S3D_ISA_NS {

#if defined(S3D_ISA_AVX512) || defined(S3D_ISA_AVX2)
inline int32_t sum_ints(__m256i eight) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1))));
}
#endif

#if defined(S3D_ISA_AVX512)

struct F32x16 {
  __m512 v;
};
inline F32x16 load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
inline void store(float* p, F32x16 a) {
  _mm512_storeu_ps(p, a.v);
}
inline F32x16 set1(float x) {
  return {_mm512_set1_ps(x)};
}
inline F32x16 zero() {
  return {_mm512_setzero_ps()};
}
inline F32x16 add(F32x16 a, F32x16 b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline F32x16 sub(F32x16 a, F32x16 b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline F32x16 mul(F32x16 a, F32x16 b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline F32x16 div(F32x16 a, F32x16 b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline F32x16 max(F32x16 a, F32x16 b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline F32x16 min(F32x16 a, F32x16 b) {
  return {_mm512_min_ps(a.v, b.v)};
}
// The larger of two magnitudes (no sign bit), compared as integers: NaN is above infinity, so that none gets lost.
inline F32x16 max_magnitude(F32x16 a, F32x16 b) {
  return {_mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v)))};
}
inline F32x16 load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline void store_f16(uint16_t* p, F32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
inline F32x16 load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
inline F32x16 load_i8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
// Rounds to the nearest integer, ties to even, and stores the low byte; needs |a| <= 127.
inline void store_i8_rounded(int8_t* p, F32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
// Sum of the lanes, each rounded as store_i8_rounded() does.
inline int32_t sum_rounded(F32x16 a) {
  const __m512i sixteen = _mm512_cvtps_epi32(a.v);
  return sum_ints(_mm256_add_epi32(_mm512_castsi512_si256(sixteen), _mm512_extracti64x4_epi64(sixteen, 1)));
}
template <int kI>
inline __m128 quarter(F32x16 a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m256i half = kI < 2 ? _mm512_castsi512_si256(bits) : _mm512_extracti64x4_epi64(bits, 1);
  return _mm256_extractf128_ps(_mm256_castsi256_ps(half), kI % 2);
}
inline F32x16 abs(F32x16 a) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7fffffff)))};
}
// Nearest integer, ties to even, as float; needs |a| < 2^22.
inline F32x16 round_even(F32x16 a) {
  return {_mm512_cvtepi32_ps(_mm512_cvtps_epi32(a.v))};
}
// 2^a for integral a in [-126, 127].
inline F32x16 exp2_integral(F32x16 a) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
#if defined(S3D_ISA_SIMDE)
// SIMDe computes a 512-bit fma as a product and a sum, rounded twice: use the halves.
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  alignas(64) float x[16], y[16], z[16];
  store(x, a);
  store(y, b);
  store(z, c);
  for (int i = 0; i < 16; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return load(z);
}
#else
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
#endif

#elif defined(S3D_ISA_AVX2)

struct F32x16 {
  __m256 lo, hi;
};
inline F32x16 load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
inline void store(float* p, F32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline F32x16 set1(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
inline F32x16 zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
inline F32x16 add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
inline F32x16 sub(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
inline F32x16 mul(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
inline F32x16 div(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
inline F32x16 max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
inline F32x16 min(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
inline F32x16 max_magnitude(F32x16 a, F32x16 b) {
  return {_mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a.lo), _mm256_castps_si256(b.lo))),
          _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a.hi), _mm256_castps_si256(b.hi)))};
}
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
inline F32x16 load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline void store_f16(uint16_t* p, F32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}
inline __m256 bf16_half(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline F32x16 load_bf16(const uint16_t* p) {
  return {bf16_half(p), bf16_half(p + 8)};
}
inline F32x16 load_i8(const int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
inline void store_i8_rounded(int8_t* p, F32x16 a) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)),
                                                 _MM_SHUFFLE(3, 1, 2, 0));
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline int32_t sum_rounded(F32x16 a) {
  return sum_ints(_mm256_add_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)));
}
template <int kI>
inline __m128 quarter(F32x16 a) {
  return _mm256_extractf128_ps(kI < 2 ? a.lo : a.hi, kI % 2);
}
inline F32x16 abs(F32x16 a) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(a.lo, mask), _mm256_and_ps(a.hi, mask)};
}
inline F32x16 round_even(F32x16 a) {
  return {_mm256_cvtepi32_ps(_mm256_cvtps_epi32(a.lo)), _mm256_cvtepi32_ps(_mm256_cvtps_epi32(a.hi))};
}
inline __m256 exp2_half(__m256 a) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127)), 23));
}
inline F32x16 exp2_integral(F32x16 a) {
  return {exp2_half(a.lo), exp2_half(a.hi)};
}

#else  // portable

struct F32x16 {
  float v[16];
};
template <typename F>
inline F32x16 each(F f) {
  F32x16 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}
inline F32x16 load(const float* p) {
  F32x16 r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline void store(float* p, const F32x16& a) {
  std::memcpy(p, a.v, sizeof a.v);
}
inline F32x16 set1(float x) {
  return each([&](int) { return x; });
}
inline F32x16 zero() {
  return set1(0.0F);
}
inline F32x16 add(const F32x16& a, const F32x16& b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
inline F32x16 sub(const F32x16& a, const F32x16& b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
inline F32x16 mul(const F32x16& a, const F32x16& b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline F32x16 div(const F32x16& a, const F32x16& b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
// As the x86 instruction: the second operand when either is NaN.
inline F32x16 max(const F32x16& a, const F32x16& b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F32x16 min(const F32x16& a, const F32x16& b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F32x16 max_magnitude(const F32x16& a, const F32x16& b) {
  return each([&](int i) { return b.v[i] != b.v[i] || b.v[i] > a.v[i] ? b.v[i] : a.v[i]; });
}
inline F32x16 fma(const F32x16& a, const F32x16& b, const F32x16& c) {
  return each([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
}
inline F32x16 load_f16(const uint16_t* p) {
  return each([&](int i) { return ggml_fp16_to_fp32(p[i]); });
}
inline void store_f16(uint16_t* p, const F32x16& a) {
  for (int i = 0; i < 16; ++i) p[i] = ggml_fp32_to_fp16(a.v[i]);
}
inline F32x16 load_bf16(const uint16_t* p) {
  return each([&](int i) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  });
}
inline F32x16 load_i8(const int8_t* p) {
  return each([&](int i) { return static_cast<float>(p[i]); });
}
inline void store_i8_rounded(int8_t* p, const F32x16& a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(static_cast<int>(std::nearbyint(a.v[i])));
}
inline int32_t sum_rounded(const F32x16& a) {
  int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += static_cast<int32_t>(std::nearbyint(a.v[i]));
  return sum;
}
inline F32x16 abs(const F32x16& a) {
  return each([&](int i) { return std::fabs(a.v[i]); });
}
inline F32x16 round_even(const F32x16& a) {
  return each([&](int i) { return std::nearbyint(a.v[i]); });
}
inline F32x16 exp2_integral(const F32x16& a) {
  return each([&](int i) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(a.v[i]) + 127) << 23;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  });
}

#endif

// The lanes as a tree: i with i + 8, then i + 4, i + 2, i + 1.
#if defined(S3D_ISA_AVX512) || defined(S3D_ISA_AVX2)
inline float reduce(F32x16 a, auto pair) {
  const __m128 four = pair(pair(quarter<0>(a), quarter<2>(a)), pair(quarter<1>(a), quarter<3>(a)));
  const __m128 two = pair(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(pair(two, _mm_shuffle_ps(two, two, 1)));
}
inline float reduce_add(F32x16 a) {
  return reduce(a, [](__m128 x, __m128 y) { return _mm_add_ps(x, y); });
}
inline float reduce_max(F32x16 a) {
  return reduce(a, [](__m128 x, __m128 y) { return _mm_max_ps(x, y); });
}
// Of magnitudes: NaN if any is.
inline float reduce_max_magnitude(F32x16 a) {
  return reduce(
      a, [](__m128 x, __m128 y) { return _mm_castsi128_ps(_mm_max_epi32(_mm_castps_si128(x), _mm_castps_si128(y))); });
}
#else
inline float reduce(F32x16 a, auto pair) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] = pair(a.v[i], a.v[i + half]);
  }
  return a.v[0];
}
inline float reduce_add(const F32x16& a) {
  return reduce(a, [](float x, float y) { return x + y; });
}
inline float reduce_max(const F32x16& a) {
  return reduce(a, [](float x, float y) { return x > y ? x : y; });
}
// Of magnitudes: NaN if any is.
inline float reduce_max_magnitude(const F32x16& a) {
  return reduce(a, [](float x, float y) { return y != y || y > x ? y : x; });
}
#endif

}  // namespace s3d::S3D_ISA_NS
