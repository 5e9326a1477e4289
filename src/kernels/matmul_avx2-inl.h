// The matmul for AVX2 without VNNI (included by isa_avx2.cc). Same sums as matmul_portable-inl.h.
//
// vpmaddubsw multiplies unsigned weights with signed activations and adds pairs into int16 lanes. The lanes are summed
// in int16 for as long as they cannot overflow, and then widened by one vpmaddwd that also multiplies by the integer
// scale: 4 bits: 16 products of at most 15 * 127 (a whole run of 32 k, 30,480); 5 bits: 8 products (31,496); 6 bits: 4
// products (32,004). So one multiply handles 32 products for most of the work, as VNNI does for 64.
// Q8_0 is signed x signed: |w| times x with the sign of w, 2 * 128 * 127 = 32,512, widened at once.
//
// A half is the 8 rows (32 bytes) of a line that one register holds; a block is walked twice, once a half, so that
// the sums of kW columns stay in registers.

namespace s3d::avx2 {

inline __m256i load256(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline __m128i load128(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline __m256i broadcast32(const void* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm256_set1_epi32(bits);
}
inline __m256 load_halves(const uint8_t* p) {
  return _mm256_cvtph_ps(load128(p));
}

// Activations of one tile from block `b` on.
struct TileBlock {
  const int8_t* q;
  const float* scale;
  const int32_t* sum32;
  const float* dsum;
  const int16_t* pairs16;
  const int16_t* pairs32;
};

// acc[j] += products of one k-group (32 bytes of weights, 8 rows) with the columns' four activations at x.
template <int kW>
inline void madd_group(__m256i weights, const int8_t* x, __m256i* acc) {
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
    acc[j] = _mm256_add_epi16(acc[j], _mm256_maddubs_epi16(weights, broadcast32(x + 4 * j)));
  }
}

template <int kW>
inline void clear(__m256i* acc) {
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) acc[j] = _mm256_setzero_si256();
}

// sum[j] += acc[j] pairs, each times its scale (int16 pairs in `scale`).
template <int kW>
inline void widen(const __m256i* acc, __m256i scale, __m256i* sum) {
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(acc[j], scale));
}

// Bit `g` of each byte of a line as 0 or 16.
template <int kG>
inline __m256i fifth_bit(__m256i line) {
  const __m256i shifted =
      kG >= 4 ? _mm256_srli_epi16(line, kG >= 4 ? kG - 4 : 0) : _mm256_slli_epi16(line, kG >= 4 ? 0 : 4 - kG);
  return _mm256_and_si256(shifted, _mm256_set1_epi8(16));
}

// Dot products of 32 k of 4-bit (kFifth: 5-bit) weights: adds to sum[j], scaled. `q`: the half's first line of
// nibbles; `qh`: its line of fifth bits; `x`: [8][kW][4].
template <int kW, bool kFifth>
inline void dot32(const uint8_t* q, const uint8_t* qh, const int8_t* x, __m256i scale, __m256i* sum) {
  const __m256i mask = _mm256_set1_epi8(15);
  __m256i acc[kW];
  clear<kW>(acc);
  __m256i high = _mm256_setzero_si256();
  if constexpr (kFifth) high = load256(qh);
  const auto step = [&]<int kI>() {
    const __m256i line = load256(q + 64 * kI);
    __m256i even = _mm256_and_si256(line, mask);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi16(line, 4), mask);
    if constexpr (kFifth) {
      even = _mm256_or_si256(even, fifth_bit<2 * kI>(high));
      odd = _mm256_or_si256(odd, fifth_bit<2 * kI + 1>(high));
    }
    madd_group<kW>(even, x + 2 * kI * kW * 4, acc);
    madd_group<kW>(odd, x + (2 * kI + 1) * kW * 4, acc);
    if constexpr (kFifth && kI == 1) {  // 8 products are all that 5 bits allow
      widen<kW>(acc, scale, sum);
      clear<kW>(acc);
    }
  };
  step.template operator()<0>();
  step.template operator()<1>();
  step.template operator()<2>();
  step.template operator()<3>();
  widen<kW>(acc, scale, sum);
}

// As dot32 for Q8_0: 32 k of signed bytes.
template <int kW>
inline void dot32_signed(const uint8_t* q, const int8_t* x, __m256i* sum) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int g = 0; g < 8; ++g) {
    const __m256i w = load256(q + 64 * g);
    const __m256i magnitude = _mm256_abs_epi8(w);
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      const __m256i signed_x = _mm256_sign_epi8(broadcast32(x + (g * kW + j) * 4), w);
      sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, signed_x), ones));
    }
  }
}

// One half of a 64-k block of a per-32 type.
template <ggml_type kType, int kW>
inline void half_legacy(const uint8_t* block, int half, const TileBlock& x, float (*acc)[16]) {
  constexpr r16::Layout kLay = r16::layout(kType);
  constexpr bool kFifth = kLay.qh != 0;
  for (int s = 0; s < 2; ++s) {
    __m256i sum[kW];
    clear<kW>(sum);
    const int8_t* q = x.q + s * 32 * kW;
    if constexpr (kType == GGML_TYPE_Q8_0) {
      dot32_signed<kW>(block + kLay.q + s * 512 + half * 32, q, sum);
    } else {
      dot32<kW, kFifth>(block + kLay.q + s * 256 + half * 32, block + kLay.qh + s * 64 + half * 32, q,
                        _mm256_set1_epi16(1), sum);
    }
    const __m256 d = load_halves(block + kLay.d + s * 32 + half * 16);
    const __m256 m = kLay.m != 0 ? load_halves(block + kLay.m + s * 32 + half * 16) : _mm256_setzero_ps();
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      const int at = s * kW + j;
      if constexpr (kType == GGML_TYPE_Q4_0 || kType == GGML_TYPE_Q5_0) {
        const __m256i offset = _mm256_slli_epi32(_mm256_set1_epi32(x.sum32[at]), kFifth ? 4 : 3);
        sum[j] = _mm256_sub_epi32(sum[j], offset);
      }
      float* out = acc[j] + half * 8;
      const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.scale[at]));
      __m256 value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[j]), scale, _mm256_load_ps(out));
      if constexpr (kLay.m != 0) value = _mm256_fmadd_ps(m, _mm256_set1_ps(x.dsum[at]), value);
      _mm256_store_ps(out, value);
    }
  }
}

// One half of a Q4_K or Q5_K block.
template <ggml_type kType, int kW>
inline void half_q45_k(const uint8_t* block, int half, const TileBlock& x, float (*acc)[16]) {
  constexpr r16::Layout kLay = r16::layout(kType);
  constexpr bool kFifth = kLay.qh != 0;
  __m256i sum[kW];
  clear<kW>(sum);
  for (int s = 0; s < 8; ++s) {
    const __m256i sc =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + kLay.sc + s * 16 + half * 8)));
    const __m256i scale = _mm256_or_si256(sc, _mm256_slli_epi32(sc, 16));
    dot32<kW, kFifth>(block + kLay.q + s * 256 + half * 32, block + kLay.qh + s * 64 + half * 32, x.q + s * 32 * kW,
                      scale, sum);
  }
  __m256i low[kW];
  clear<kW>(low);
  for (int p = 0; p < 4; ++p) {
    const __m256i mn = _mm256_cvtepu8_epi16(load128(block + kLay.mn + p * 32 + half * 16));
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      low[j] = _mm256_add_epi32(low[j], _mm256_madd_epi16(mn, broadcast32(x.pairs32 + (p * kW + j) * 2)));
    }
  }
  const __m256 d = load_halves(block + kLay.d + half * 16);
  const __m256 m = load_halves(block + kLay.m + half * 16);
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
    const __m256 dx = _mm256_set1_ps(x.scale[j]);
    float* out = acc[j] + half * 8;
    const __m256 value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[j]), _mm256_mul_ps(d, dx), _mm256_load_ps(out));
    _mm256_store_ps(out, _mm256_fnmadd_ps(_mm256_cvtepi32_ps(low[j]), _mm256_mul_ps(m, dx), value));
  }
}

// 16 k of Q6_K: two k-groups at a time, the most that int16 holds.
template <int kW>
inline void dot16_q6(const uint8_t* q, const uint8_t* qh, const int8_t* x, __m256i scale, __m256i* sum) {
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i upper = _mm256_set1_epi8(48);
  const __m256i high = load256(qh);
  const __m256i first = load256(q);
  const __m256i second = load256(q + 64);
  const __m256i w[4] = {
      _mm256_or_si256(_mm256_and_si256(first, mask), _mm256_and_si256(_mm256_slli_epi16(high, 4), upper)),
      _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(first, 4), mask),
                      _mm256_and_si256(_mm256_slli_epi16(high, 2), upper)),
      _mm256_or_si256(_mm256_and_si256(second, mask), _mm256_and_si256(high, upper)),
      _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(second, 4), mask),
                      _mm256_and_si256(_mm256_srli_epi16(high, 2), upper))};
#pragma GCC unroll 2
  for (int pair = 0; pair < 2; ++pair) {
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      const __m256i a = _mm256_maddubs_epi16(w[2 * pair], broadcast32(x + (2 * pair * kW + j) * 4));
      const __m256i b = _mm256_maddubs_epi16(w[2 * pair + 1], broadcast32(x + ((2 * pair + 1) * kW + j) * 4));
      sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(_mm256_add_epi16(a, b), scale));
    }
  }
}

template <int kW>
inline void half_q6_k(const uint8_t* block, int half, const TileBlock& x, float (*acc)[16]) {
  constexpr r16::Layout kLay = r16::layout(GGML_TYPE_Q6_K);
  __m256i sum[kW];
  __m256i low[kW];
  clear<kW>(sum);
  clear<kW>(low);
  for (int p = 0; p < 8; ++p) {  // pairs of 16-k sub-blocks
    const __m256i sc = _mm256_cvtepi8_epi16(load128(block + kLay.sc + p * 32 + half * 16));
    const __m256i first = _mm256_blend_epi16(sc, _mm256_slli_epi32(sc, 16), 0xAA);
    const __m256i second = _mm256_blend_epi16(_mm256_srli_epi32(sc, 16), sc, 0xAA);
    const uint8_t* q = block + kLay.q + p * 256 + half * 32;
    const uint8_t* qh = block + kLay.qh + p * 128 + half * 32;
    const int8_t* xq = x.q + p * 32 * kW;
    dot16_q6<kW>(q, qh, xq, first, sum);
    dot16_q6<kW>(q + 128, qh + 64, xq + 16 * kW, second, sum);
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      low[j] = _mm256_add_epi32(low[j], _mm256_madd_epi16(sc, broadcast32(x.pairs16 + (p * kW + j) * 2)));
    }
  }
  const __m256 d = load_halves(block + kLay.d + half * 16);
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
    const __m256i centred = _mm256_sub_epi32(sum[j], _mm256_slli_epi32(low[j], 5));
    float* out = acc[j] + half * 8;
    const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.scale[j]));
    _mm256_store_ps(out, _mm256_fmadd_ps(_mm256_cvtepi32_ps(centred), scale, _mm256_load_ps(out)));
  }
}

template <ggml_type kType, int kW>
inline void half_block(const uint8_t* block, int half, const TileBlock& x, float (*acc)[16]) {
  if constexpr (kType == GGML_TYPE_Q6_K) {
    half_q6_k<kW>(block, half, x, acc);
  } else if constexpr (r16::layout(kType).k == 256) {
    half_q45_k<kType, kW>(block, half, x, acc);
  } else {
    half_legacy<kType, kW>(block, half, x, acc);
  }
}

// One unit times a tile of kW columns; acc[column][16].
template <ggml_type kType, int kW>
inline void unit_tile(const uint8_t* unit, const Activations& x, size_t t, float (*acc)[16]) {
  constexpr r16::Layout kLay = r16::layout(kType);
  constexpr size_t kScaleStep = kLay.k == 256 ? kW : kLay.k / 32 * kW;
  std::memset(acc, 0, sizeof(float) * 16 * kW);
  TileBlock at{x.q(t), x.scale(t), x.sum32(t), x.dsum(t), x.pairs16(t), x.pairs32(t)};
  const size_t n_blocks = x.padded_cols() / kLay.k;
  for (size_t b = 0; b < n_blocks; ++b) {
    half_block<kType, kW>(unit + b * kLay.bytes, 0, at, acc);
    half_block<kType, kW>(unit + b * kLay.bytes, 1, at, acc);
    at.q += kLay.k * kW;
    at.scale += kScaleStep;
    at.sum32 += kScaleStep;
    at.dsum += kScaleStep;
    at.pairs16 += kLay.k / 16 * kW;
    at.pairs32 += kLay.k / 32 * kW;
  }
}

}  // namespace s3d::avx2
