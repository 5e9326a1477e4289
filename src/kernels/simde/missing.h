// The AVX-512 operations that our kernels use and SIMDe 0.7.4 lacks, lane by lane. Included by simd.h in test builds.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace s3d::simde_missing {

template <typename To, typename From>
inline To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
template <typename T, int kN>
struct Lanes {
  T v[kN];
};

// Lane-wise conversion of kN lanes of From (held in the vector FromV) to lanes of To (in ToV).
template <typename ToV, typename To, typename From, int kN, typename FromV, typename F>
inline ToV convert(const FromV& a, F f) {
  const auto in = bits<Lanes<From, kN>>(a);
  Lanes<To, kN> out;
  for (int i = 0; i < kN; ++i) out.v[i] = static_cast<To>(f(in.v[i]));
  return bits<ToV>(out);
}
inline constexpr auto kSame = [](auto x) { return x; };

inline simde__m128i cvtepi32_epi8(simde__m512i a) {
  return convert<simde__m128i, int8_t, int32_t, 16>(a, kSame);
}
inline simde__m512 cvtepi32_ps(simde__m512i a) {
  return convert<simde__m512, float, int32_t, 16>(a, kSame);
}
inline simde__m512i cvtepi8_epi32(simde__m128i a) {
  return convert<simde__m512i, int32_t, int8_t, 16>(a, kSame);
}
inline simde__m512i cvtepu8_epi32(simde__m128i a) {
  return convert<simde__m512i, int32_t, uint8_t, 16>(a, kSame);
}
inline simde__m512i cvtepu8_epi16(simde__m256i a) {
  return convert<simde__m512i, int16_t, uint8_t, 32>(a, kSame);
}
inline simde__m512i cvtepu16_epi32(simde__m256i a) {
  return convert<simde__m512i, int32_t, uint16_t, 16>(a, kSame);
}
inline simde__m512i cvtps_epi32(simde__m512 a) {
  return convert<simde__m512i, int32_t, float, 16>(a, [](float x) { return std::nearbyint(x); });
}
inline simde__m512i srai_epi32(simde__m512i a, unsigned count) {
  return convert<simde__m512i, int32_t, int32_t, 16>(a, [count](int32_t x) { return x >> count; });
}
inline simde__m512 cvtph_ps(simde__m256i a) {
  const auto half = bits<Lanes<__m128i, 2>>(a);
  return bits<simde__m512>(Lanes<__m256, 2>{{_mm256_cvtph_ps(half.v[0]), _mm256_cvtph_ps(half.v[1])}});
}
inline simde__m256i cvtps_ph(simde__m512 a) {
  const auto half = bits<Lanes<__m256, 2>>(a);
  return bits<simde__m256i>(Lanes<__m128i, 2>{{_mm256_cvtps_ph(half.v[0], 0), _mm256_cvtps_ph(half.v[1], 0)}});
}

}  // namespace s3d::simde_missing

#define _mm512_cvtepi32_epi8(a) s3d::simde_missing::cvtepi32_epi8(a)
#define _mm512_cvtepi32_ps(a) s3d::simde_missing::cvtepi32_ps(a)
#define _mm512_cvtepi8_epi32(a) s3d::simde_missing::cvtepi8_epi32(a)
#define _mm512_cvtepu8_epi32(a) s3d::simde_missing::cvtepu8_epi32(a)
#define _mm512_cvtepu8_epi16(a) s3d::simde_missing::cvtepu8_epi16(a)
#define _mm512_cvtepu16_epi32(a) s3d::simde_missing::cvtepu16_epi32(a)
#define _mm512_cvtps_epi32(a) s3d::simde_missing::cvtps_epi32(a)
#define _mm512_srai_epi32(a, n) s3d::simde_missing::srai_epi32(a, n)
#define _mm512_cvtph_ps(a) s3d::simde_missing::cvtph_ps(a)
#define _mm512_cvtps_ph(a, rounding) s3d::simde_missing::cvtps_ph(a)
// SIMDe 0.7.4 gives this alias the wrong number of arguments.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
