// The matmul for AVX2 without VNNI (included by isa_avx2.cc). Same sums as matmul_portable-inl.h.
//
// vpmaddubsw multiplies unsigned weights with signed activations and adds pairs into int16 lanes. The lanes are summed
// in int16 for as long as they cannot overflow, and then widened by one vpmaddwd that also multiplies by the integer
// scale: 4 bits: 16 products of at most 15 * 127 (a whole run of 32 k, 30,480); 5 bits: 8 products (31,496); 6 bits: 4
// products (32,004). So one multiply handles 32 products for most of the work, as VNNI does for 64.
// Q8_0 is signed x signed: |w| times x with the sign of w, 2 * 128 * 127 = 32,512, widened at once.
//
// A line of 16 rows is two registers, its halves (8 rows each). Both share one broadcast of the activations: walking
// the halves one after the other, with all sums in registers, was 14 to 20 % slower. Q6_K does that nevertheless: see
// there. Zen 3 starts two vpmaddubsw, vpmaddwd, vpsignb or shifts a cycle, or four additions; of products and additions
// in turns 3.3, with two broadcasting loads beside them for nothing. By that 4 bits could reach 42 products a cycle; 37
// are.

namespace s3d::avx2 {

// Sixteen registers: sums of wider tiles go to memory and gain nothing.
inline constexpr int kWidestTile = 5;

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

// sum += x as one instruction: left to itself, g++ 12 computes all products of a run first and spills them to the
// stack (76 instead of 94 GMAC/s for four rows of Q4_K on a Zen 3 core).
inline void add_words(__m256i& sum, __m256i x) {
  asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(x));
}

// The same for int32 lanes, where the sums of several products wait for one another (Q6_K: 1 to 8 % by it).
inline void add_ints(__m256i& sum, __m256i x) {
  asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(x));
}

// The two halves of a line, or what was computed from them.
struct Line {
  __m256i half[2];
};
inline Line load_line(const uint8_t* p) {
  return {{load256(p), load256(p + 32)}};
}
template <typename F>
S3D_INLINED inline Line each_half(F f) {
  return {{f(0), f(1)}};
}

// acc[j] = (kFirst) or += products of one k-group with the columns' four activations at x.
template <int kW, bool kFirst>
S3D_INLINED inline void madd_group(const Line& w, const int8_t* x, Line* acc) {
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
    const __m256i xj = broadcast32(x + j * kRowStep);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256i product = _mm256_maddubs_epi16(w.half[h], xj);
      if constexpr (kFirst) {
        acc[j].half[h] = product;
      } else {
        add_words(acc[j].half[h], product);
      }
    }
  }
}

// sum[j] += acc[j] pairs, each times its scale (int16 pairs).
template <int kW>
S3D_INLINED inline void widen(const Line* acc, const Line& scale, Line* sum) {
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      sum[j].half[h] = _mm256_add_epi32(sum[j].half[h], _mm256_madd_epi16(acc[j].half[h], scale.half[h]));
    }
  }
}

template <int kW>
S3D_INLINED inline void clear(Line* sum) {
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) sum[j] = each_half([](int) { return _mm256_setzero_si256(); });
}

// Bit kG of each byte of a line as 0 or 16, joined to `low`.
template <int kG>
S3D_INLINED inline Line with_fifth(const Line& low, const Line& bits) {
  return each_half([&](int h) {
    const __m256i shifted = kG >= 4 ? _mm256_srli_epi16(bits.half[h], kG >= 4 ? kG - 4 : 0)
                                    : _mm256_slli_epi16(bits.half[h], kG >= 4 ? 0 : 4 - kG);
    return _mm256_or_si256(low.half[h], _mm256_and_si256(shifted, _mm256_set1_epi8(16)));
  });
}

S3D_INLINED inline Line low_nibbles(const Line& line) {
  return each_half([&](int h) { return _mm256_and_si256(line.half[h], _mm256_set1_epi8(15)); });
}
S3D_INLINED inline Line high_nibbles(const Line& line) {
  return each_half([&](int h) { return _mm256_and_si256(_mm256_srli_epi16(line.half[h], 4), _mm256_set1_epi8(15)); });
}

// Adds to sum[j] the scaled dot products of 32 k of 4-bit (kFifth: 5-bit) weights. `q`: four lines of nibbles, `qh`:
// the line of fifth bits, `x`: [8][kW][4].
template <int kW, bool kFifth>
S3D_INLINED inline void dot32(const uint8_t* q, const uint8_t* qh, const int8_t* x, const Line& scale, Line* sum) {
  Line acc[kW];
  const auto step = [&]<int kI>() S3D_INLINED {
    Line even = low_nibbles(load_line(q + 64 * kI));
    if constexpr (kFifth) even = with_fifth<2 * kI>(even, load_line(qh));
    madd_group<kW, kI == 0 || (kFifth && kI == 2)>(even, x + 2 * kI * 4, acc);
    Line odd = high_nibbles(load_line(q + 64 * kI));
    if constexpr (kFifth) odd = with_fifth<2 * kI + 1>(odd, load_line(qh));
    madd_group<kW, false>(odd, x + (2 * kI + 1) * 4, acc);
    if constexpr (kI == 3 || (kFifth && kI == 1)) widen<kW>(acc, scale, sum);  // 5 bits: 8 products at most
  };
  step.template operator()<0>();
  step.template operator()<1>();
  step.template operator()<2>();
  step.template operator()<3>();
}

// As dot32 for Q8_0: 32 k of signed bytes.
template <int kW>
S3D_INLINED inline void dot32_signed(const uint8_t* q, const int8_t* x, Line* sum) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int g = 0; g < 8; ++g) {
    const Line w = load_line(q + 64 * g);
    const Line magnitude = each_half([&](int h) { return _mm256_abs_epi8(w.half[h]); });
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      const __m256i xj = broadcast32(x + j * kRowStep + g * 4);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m256i pairs = _mm256_maddubs_epi16(magnitude.half[h], _mm256_sign_epi8(xj, w.half[h]));
        sum[j].half[h] = _mm256_add_epi32(sum[j].half[h], _mm256_madd_epi16(pairs, ones));
      }
    }
  }
}

// Float sums of one row of activations with the 16 rows of a unit.
struct Sums {
  __m256 half[2];
};
S3D_INLINED inline Sums no_sums() {
  return {{_mm256_setzero_ps(), _mm256_setzero_ps()}};
}
S3D_INLINED inline Sums add_sums(Sums a, Sums b) {
  return {{_mm256_add_ps(a.half[0], b.half[0]), _mm256_add_ps(a.half[1], b.half[1])}};
}
S3D_INLINED inline void store_sums(float* to, Sums a) {
  _mm256_storeu_ps(to, a.half[0]);
  _mm256_storeu_ps(to + 8, a.half[1]);
}

// A block of a per-32 type: kRuns times 32 k.
template <ggml_type kType, int kW, int kRuns = 2>
S3D_INLINED inline void block_legacy(const uint8_t* block, const Block32& x, Sums* acc) {
  constexpr r16::Layout kLay = r16::layout(kType);
  constexpr int kOffset = kType == GGML_TYPE_Q4_0 ? 8 : kType == GGML_TYPE_Q5_0 ? 16 : 0;
  const Line ones = each_half([](int) { return _mm256_set1_epi16(1); });
  for (int s = 0; s < kRuns; ++s) {
    Line sum[kW];
    clear<kW>(sum);
    const int8_t* q = x.q + s * 32;
    if constexpr (kType == GGML_TYPE_Q8_0) {
      dot32_signed<kW>(block + kLay.q + s * kLay.run, q, sum);
    } else {
      dot32<kW, kLay.qh != 0>(block + kLay.q + s * kLay.run, block + kLay.qh + s * kLay.run, q, ones, sum);
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256 d = load_halves(block + kLay.d + s * 32 + h * 16);
      const __m256 m = load_halves(block + kLay.m + s * 32 + h * 16);  // not used by the types without minima
#pragma GCC unroll 8
      for (int j = 0; j < kW; ++j) {
        const ActScales32& scales = x.scales[j];
        const size_t part = x.part + s;
        __m256i dot = sum[j].half[h];
        if constexpr (kOffset != 0) dot = _mm256_sub_epi32(dot, _mm256_set1_epi32(kOffset * scales.sum[part]));
        const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(scales.scale[part]));
        acc[j].half[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, acc[j].half[h]);
        if constexpr (kLay.m != 0)
          acc[j].half[h] = _mm256_fmadd_ps(m, _mm256_set1_ps(scales.dsum[part]), acc[j].half[h]);
      }
    }
  }
}

// Sum over kPairs pairs of sub-blocks of their scales (int16 pairs) times a row's sums of activations,
// [kPairs][2].
template <int kPairs>
S3D_INLINED inline __m256i dot_sums(const __m256i* scales, const int16_t* sums) {
  __m256i dot = _mm256_madd_epi16(scales[0], broadcast32(sums));
#pragma GCC unroll 8
  for (int p = 1; p < kPairs; ++p) {
    add_ints(dot, _mm256_madd_epi16(scales[p], broadcast32(sums + 2 * p)));
  }
  return dot;
}

// sum * (d * dx), in floats.
S3D_INLINED inline __m256 scaled(__m256i sum, __m256 d, float dx) {
  return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(d, _mm256_set1_ps(dx)));
}

// acc += the block's sums of products, scaled, less dmin * dx * (sum of minima times the activations' sums).
template <ggml_type kType, int kW>
S3D_INLINED inline void add_block(const uint8_t* block, int h, const Block256& x, const Line* sum, Sums* acc) {
  constexpr r16::Layout kLay = r16::layout(kType);
  const __m256 d = load_halves(block + kLay.d + h * 16);
  const __m256 m = load_halves(block + kLay.m + h * 16);
  __m256i mn[4];
  for (int p = 0; p < 4; ++p) mn[p] = _mm256_cvtepu8_epi16(load128(block + kLay.mn + p * 32 + h * 16));
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
    const __m256i low = dot_sums<4>(mn, x.scales[j].sum32);
    const __m256 scale = _mm256_mul_ps(m, _mm256_set1_ps(x.scales[j].scale));
    const __m256 upper = scaled(sum[j].half[h], d, x.scales[j].scale);
    acc[j].half[h] = _mm256_add_ps(acc[j].half[h], _mm256_fnmadd_ps(_mm256_cvtepi32_ps(low), scale, upper));
  }
}

template <ggml_type kType, int kW>
S3D_INLINED inline void block_q45_k(const uint8_t* block, const Block256& x, Sums* acc) {
  constexpr r16::Layout kLay = r16::layout(kType);
  Line sum[kW];
  clear<kW>(sum);
  for (int s = 0; s < 8; ++s) {
    const uint8_t* scales = block + kLay.sc + s * 16;
    const Line scale = each_half([&](int h) {
      const __m256i sc = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(scales + h * 8)));
      return _mm256_or_si256(sc, _mm256_slli_epi32(sc, 16));
    });
    dot32<kW, kLay.qh != 0>(block + kLay.q + s * kLay.run, block + kLay.qh + s * kLay.run,
                            x.q + s / 2 * kW * kRowStep + s % 2 * 32, scale, sum);
  }
  for (int h = 0; h < 2; ++h) add_block<kType, kW>(block, h, x, sum, acc);
}

// Half a line of Q6_K values, k-group kI of 16 k: nibbles from `q` (two lines), upper bits from `qh` (one line).
template <int kI>
S3D_INLINED inline __m256i six_bits(const uint8_t* q, const uint8_t* qh) {
  const __m256i line = load256(q + kI / 2 * 64);
  const __m256i low = _mm256_and_si256(kI % 2 == 0 ? line : _mm256_srli_epi16(line, 4), _mm256_set1_epi8(15));
  const __m256i bits = load256(qh);
  const __m256i shifted =
      kI < 2 ? _mm256_slli_epi16(bits, kI < 2 ? 4 - 2 * kI : 0) : _mm256_srli_epi16(bits, kI < 2 ? 0 : 2 * kI - 4);
  return _mm256_or_si256(low, _mm256_and_si256(shifted, _mm256_set1_epi8(48)));
}

// Half a line of 16 k of Q6_K: two k-groups at a time, the most that int16 holds.
template <int kW>
S3D_INLINED inline void dot16_q6(const uint8_t* q, const uint8_t* qh, const int8_t* x, __m256i scale, __m256i* sum) {
  const __m256i w[4] = {six_bits<0>(q, qh), six_bits<1>(q, qh), six_bits<2>(q, qh), six_bits<3>(q, qh)};
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) {
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; ++pair) {
      const int8_t* at = x + j * kRowStep + 2 * pair * 4;
      __m256i products = _mm256_maddubs_epi16(w[2 * pair], broadcast32(at));
      add_words(products, _mm256_maddubs_epi16(w[2 * pair + 1], broadcast32(at + 4)));
      add_ints(sum[j], _mm256_madd_epi16(products, scale));
    }
  }
}

// The scales of the p-th pair of 16-k sub-blocks for half the rows.
S3D_INLINED inline __m256i scales_q6(const uint8_t* block, int p, int h) {
  return _mm256_cvtepi8_epi16(load128(block + r16::layout(GGML_TYPE_Q6_K).sc + p * 32 + h * 16));
}

// Half the rows of a block at a time: the sums, widened four times as often as those of 4 bits, stay in registers,
// which is worth the second broadcasts (66 -> 73 GMAC/s in cache).
template <int kW>
S3D_INLINED inline void block_q6_k(const uint8_t* block, const Block256& x, Sums* acc) {
  constexpr r16::Layout kLay = r16::layout(GGML_TYPE_Q6_K);
  for (int h = 0; h < 2; ++h) {
    __m256i sum[kW];
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) sum[j] = _mm256_setzero_si256();
    for (int p = 0; p < 8; ++p) {
      const __m256i sc = scales_q6(block, p, h);
      const uint8_t* q = block + kLay.q + 2 * p * kLay.run + h * 32;
      const uint8_t* qh = block + kLay.qh + 2 * p * kLay.run + h * 32;
      const int8_t* xq = x.q + p / 2 * kW * kRowStep + p % 2 * 32;
      dot16_q6<kW>(q, qh, xq, _mm256_blend_epi16(sc, _mm256_slli_epi32(sc, 16), 0xAA), sum);
      dot16_q6<kW>(q + kLay.run, qh + kLay.run, xq + 16, _mm256_blend_epi16(_mm256_srli_epi32(sc, 16), sc, 0xAA), sum);
    }
    const __m256 d = load_halves(block + kLay.d + h * 16);
    __m256i sc[8];
#pragma GCC unroll 8
    for (int p = 0; p < 8; ++p) sc[p] = scales_q6(block, p, h);
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) {
      const __m256i low = dot_sums<8>(sc, x.scales[j].sum16);
      const __m256i centred = _mm256_sub_epi32(sum[j], _mm256_slli_epi32(low, 5));
      acc[j].half[h] = _mm256_add_ps(acc[j].half[h], scaled(centred, d, x.scales[j].scale));
    }
  }
}

// How far ahead weights are asked for, in bytes; 0 leaves it to the hardware. On Zen 3, two threads, 4 KiB ahead raised
// a one-row pass from memory from 15 to 23 GB/s (Q6_K), 19 to 26 (Q5_0), 23 to 27 (Q4_1) and 26 to 28 (Q8_0), and
// passes of four and five rows likewise; Q4_K reads 24 without and 23 with it. 8 KiB ahead into the second level was no
// better.
constexpr size_t prefetch_distance(ggml_type type) {
  return type == GGML_TYPE_Q4_K ? 0 : 4096;
}

template <ggml_type kType>
S3D_INLINED inline bool asks_ahead(const Activations&, size_t t) {
  return prefetch_distance(kType) != 0 && t == 0;  // the other tiles find the unit in the cache
}

// Past the end of the matrix it asks for memory that may not exist, which x86 ignores.
template <ggml_type kType>
S3D_INLINED inline void prefetch(const uint8_t* block) {
  constexpr size_t kDistance = prefetch_distance(kType);
  for (size_t line = 0; line < r16::layout(kType).bytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(block + kDistance + line), _MM_HINT_T0);
  }
}

}  // namespace s3d::avx2
