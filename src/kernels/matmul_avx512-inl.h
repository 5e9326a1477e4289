// The matmul for AVX-512 with VNNI (included by isa_avx512.cc). Same sums as matmul_portable-inl.h.
//
// One zmm is a line: 16 rows x 4 k; vpdpbusd adds four products a lane, so the int32 lane of a row needs no horizontal
// sum. Weights are the unsigned operand; Q8_0 is stored signed and gets its top bit flipped (+128), which the start
// value -128 * sum(x) takes back. Other offsets go into the start value too. Integer scales by vpmulld: exact for any
// input (the int16-pair form of docs/kernels.md is 5 % faster but needs a bound on the dot products).

namespace s3d::S3D_ISA_NS {

// Thirty-two registers hold the dots and sums of eight columns.
inline constexpr int kWidestTile = 8;

inline __m512i load512(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}
inline __m512i broadcast32(const void* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm512_set1_epi32(bits);
}
inline __m512 load_halves(const uint8_t* p) {
  return load_f16(reinterpret_cast<const uint16_t*>(p)).v;
}

// Float sums of one row of activations with the 16 rows of a unit.
struct Sums {
  __m512 v;
};
S3D_INLINED inline Sums no_sums() {
  return {_mm512_setzero_ps()};
}
S3D_INLINED inline Sums add_sums(Sums a, Sums b) {
  return {_mm512_add_ps(a.v, b.v)};
}
S3D_INLINED inline void store_sums(float* to, Sums a) {
  _mm512_storeu_ps(to, a.v);
}

template <int kW>
S3D_INLINED inline void dot_group(__m512i weights, const int8_t* x, __m512i* dot) {
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) dot[j] = _mm512_dpbusd_epi32(dot[j], weights, broadcast32(x + j * kRowStep));
}

// Bit kG of each byte of a line as 0 or 16.
template <int kG>
inline __m512i fifth_bit(__m512i line) {
  const __m512i shifted =
      kG >= 4 ? _mm512_srli_epi16(line, kG >= 4 ? kG - 4 : 0) : _mm512_slli_epi16(line, kG >= 4 ? 0 : 4 - kG);
  return _mm512_and_si512(shifted, _mm512_set1_epi8(16));
}

// dot[j] += products of 32 k of 4-bit (kFifth: 5-bit) weights.
template <int kW, bool kFifth>
S3D_INLINED inline void dot32(const uint8_t* q, const uint8_t* qh, const int8_t* x, __m512i* dot) {
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i high = _mm512_setzero_si512();
  if constexpr (kFifth) high = load512(qh);
  const auto step = [&]<int kI>() S3D_INLINED {
    const __m512i line = load512(q + 64 * kI);
    __m512i even = _mm512_and_si512(line, mask);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi16(line, 4), mask);
    if constexpr (kFifth) {
      even = _mm512_or_si512(even, fifth_bit<2 * kI>(high));
      odd = _mm512_or_si512(odd, fifth_bit<2 * kI + 1>(high));
    }
    dot_group<kW>(even, x + 2 * kI * 4, dot);
    dot_group<kW>(odd, x + (2 * kI + 1) * 4, dot);
  };
  step.template operator()<0>();
  step.template operator()<1>();
  step.template operator()<2>();
  step.template operator()<3>();
}

// A block of a per-32 type: kRuns times 32 k.
template <ggml_type kType, int kW, int kRuns = 2>
S3D_INLINED inline void block_legacy(const uint8_t* block, const Block32& x, Sums* acc) {
  constexpr r16::Layout kLay = r16::layout(kType);
  constexpr int kOffset = kType == GGML_TYPE_Q4_0   ? 8
                          : kType == GGML_TYPE_Q5_0 ? 16
                          : kType == GGML_TYPE_Q8_0 ? 128
                                                    : 0;
#pragma GCC unroll 2
  for (int s = 0; s < kRuns; ++s) {
    __m512i dot[kW];
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) dot[j] = _mm512_set1_epi32(-kOffset * x.scales[j].sum[x.part + s]);
    const int8_t* q = x.q + s * 32;
    if constexpr (kType == GGML_TYPE_Q8_0) {
      const __m512i flip = _mm512_set1_epi8(-128);
      for (int g = 0; g < 8; ++g) {
        dot_group<kW>(_mm512_xor_si512(load512(block + kLay.q + s * kLay.run + g * 64), flip), q + g * 4, dot);
      }
    } else {
      dot32<kW, kLay.qh != 0>(block + kLay.q + s * kLay.run, block + kLay.qh + s * kLay.run, q, dot);
    }
    const __m512 d = load_halves(block + kLay.d + s * 32);
    const __m512 m = kLay.m != 0 ? load_halves(block + kLay.m + s * 32) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      const F32x16 scale{_mm512_mul_ps(d, _mm512_set1_ps(x.scales[j].scale[x.part + s]))};
      acc[j].v = fma(F32x16{_mm512_cvtepi32_ps(dot[j])}, scale, F32x16{acc[j].v}).v;
      if constexpr (kLay.m != 0) acc[j].v = fma(F32x16{m}, set1(x.scales[j].dsum[x.part + s]), F32x16{acc[j].v}).v;
    }
  }
}

template <ggml_type kType, int kW>
S3D_INLINED inline void block_q45_k(const uint8_t* block, const Block256& x, Sums* acc) {
  constexpr r16::Layout kLay = r16::layout(kType);
  __m512i sum[kW];
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) sum[j] = _mm512_setzero_si512();
  for (int s = 0; s < 8; ++s) {
    __m512i dot[kW];
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) dot[j] = _mm512_setzero_si512();
    dot32<kW, kLay.qh != 0>(block + kLay.q + s * kLay.run, block + kLay.qh + s * kLay.run,
                            x.q + s / 2 * kW * kRowStep + s % 2 * 32, dot);
    const __m512i sc =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kLay.sc + s * 16)));
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) sum[j] = _mm512_add_epi32(sum[j], _mm512_mullo_epi32(dot[j], sc));
  }
  __m512i low[kW];
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) low[j] = _mm512_setzero_si512();
  for (int p = 0; p < 4; ++p) {
    const __m512i mn =
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + kLay.mn + p * 32)));
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      low[j] = _mm512_dpwssd_epi32(low[j], mn, broadcast32(x.scales[j].sum32 + 2 * p));
    }
  }
  const __m512 d = load_halves(block + kLay.d);
  const __m512 m = load_halves(block + kLay.m);
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
    const __m512 dx = _mm512_set1_ps(x.scales[j].scale);
    const __m512i minus_low = _mm512_sub_epi32(_mm512_setzero_si512(), low[j]);
    const F32x16 upper = mul(F32x16{_mm512_cvtepi32_ps(sum[j])}, F32x16{_mm512_mul_ps(d, dx)});
    const F32x16 both = fma(F32x16{_mm512_cvtepi32_ps(minus_low)}, F32x16{_mm512_mul_ps(m, dx)}, upper);
    acc[j].v = _mm512_add_ps(acc[j].v, both.v);
  }
}

// dot[j] += products of 16 k of Q6_K weights.
template <int kW>
S3D_INLINED inline void dot16_q6(const uint8_t* q, const uint8_t* qh, const int8_t* x, __m512i* dot) {
  const __m512i mask = _mm512_set1_epi8(15);
  const __m512i upper = _mm512_set1_epi8(48);
  const __m512i high = load512(qh);
  const __m512i first = load512(q);
  const __m512i second = load512(q + 64);
  const auto join = [&](__m512i low, __m512i top) {
    return _mm512_or_si512(_mm512_and_si512(low, mask), _mm512_and_si512(top, upper));
  };
  dot_group<kW>(join(first, _mm512_slli_epi16(high, 4)), x, dot);
  dot_group<kW>(join(_mm512_srli_epi16(first, 4), _mm512_slli_epi16(high, 2)), x + 4, dot);
  dot_group<kW>(join(second, high), x + 8, dot);
  dot_group<kW>(join(_mm512_srli_epi16(second, 4), _mm512_srli_epi16(high, 2)), x + 12, dot);
}

// The scales of two neighbouring parts, in the halves of each row's lane.
inline __m512i scale_pairs(const uint8_t* scales) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales)));
}

template <int kW>
S3D_INLINED inline void block_q6_k(const uint8_t* block, const Block256& x, Sums* acc) {
  constexpr r16::Layout kLay = r16::layout(GGML_TYPE_Q6_K);
  __m512i sum[kW];
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) sum[j] = _mm512_setzero_si512();
  for (int s = 0; s < 16; ++s) {
    __m512i dot[kW];
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) dot[j] = _mm512_setzero_si512();
    dot16_q6<kW>(block + kLay.q + s * kLay.run, block + kLay.qh + s * kLay.run,
                 x.q + s / 4 * kW * kRowStep + s % 4 * 16, dot);
    const __m512i pair = scale_pairs(block + kLay.sc + s / 2 * 32);
    const __m512i sc = _mm512_srai_epi32(s % 2 == 0 ? _mm512_slli_epi32(pair, 16) : pair, 16);
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) sum[j] = _mm512_add_epi32(sum[j], _mm512_mullo_epi32(dot[j], sc));
  }
  // The weights' offset, for two parts in one operation.
  __m512i offset[kW];
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) offset[j] = _mm512_setzero_si512();
  for (int p = 0; p < 8; ++p) {
    const __m512i pair = scale_pairs(block + kLay.sc + p * 32);
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      offset[j] = _mm512_dpwssd_epi32(offset[j], pair, broadcast32(x.scales[j].sum16 + 2 * p));
    }
  }
  const __m512 d = load_halves(block + kLay.d);
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
    const __m512i centred = _mm512_sub_epi32(sum[j], _mm512_slli_epi32(offset[j], 5));
    const F32x16 scale{_mm512_mul_ps(d, _mm512_set1_ps(x.scales[j].scale))};
    acc[j].v = _mm512_add_ps(acc[j].v, mul(F32x16{_mm512_cvtepi32_ps(centred)}, scale).v);
  }
}

// Software prefetch pays only where the arithmetic is the limit: narrower passes read a unit from its first byte to its
// last, which the hardware's prefetchers follow at the speed of a plain read, and lose up to a third with it. Measured
// on Zen 4, two threads, plain read 37 GB/s, without and with: five rows of Q4_K 31.6 and 35.2 GB/s, of Q5_0 37.7
// and 34.5; eight of Q4_K 19.6 and 24.6, of Q5_0 22.1 and 28.6. Into the second level, every line; 4, 8 and 16 KiB
// ahead are equal.
// The first of several tiles asks for all of them: the others find the unit in the cache.
template <ggml_type kType>
S3D_INLINED inline bool asks_ahead(const Activations& x, size_t t) {
  return t == 0 && x.n() >= (r16::layout(kType).k == 256 ? 4 : 6);
}
template <ggml_type kType>
S3D_INLINED inline void prefetch(const uint8_t* block) {
  constexpr size_t kDistance = 4096;
  for (size_t line = 0; line < r16::layout(kType).bytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(block + kDistance + line), _MM_HINT_T1);
  }
}

}  // namespace s3d::S3D_ISA_NS
