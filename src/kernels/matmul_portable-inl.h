// The matmul in plain C++: the reference that the SIMD kernels equal bit for bit (included by isa_portable.cc).
//
// The columns are cut into segments of kSumSegment; each has a chain `acc` that starts at 0, and the chains' results
// are added in order, from 0 on (docs/numerics.md, "The order of sums"). Per output and block of the weights:
//   per-32 types   acc = fma(dot, d * dx, acc)                        with dot = sum (q - offset) * x, exact
//                  acc = fma(m, dsum, acc)                            Q4_1, Q5_1
//   K-quants       acc = fma(sum_s sc_s * dot_s, d * dx, acc)         integer sums, exact; a block is a segment
//                  acc = fma(-(sum_s mn_s * sum32_s), dmin * dx, acc) Q4_K, Q5_K
//   floats         two chains, even and odd k: acc = fma(w, x, acc); then even + odd

namespace s3d::portable {

struct Tile {
  const Activations& x;
  size_t t, w;
};

inline float half_at(const uint8_t* p) {
  ggml_fp16_t h;
  std::memcpy(&h, p, sizeof h);
  return ggml_fp16_to_fp32(h);
}

// The unsigned value of k-group g (counted in the block), byte `i` of its line.
template <ggml_type kType>
inline int value(const uint8_t* block, size_t g, size_t i) {
  constexpr r16::Layout kLay = r16::layout(kType);
  if constexpr (kType == GGML_TYPE_Q8_0) return static_cast<int8_t>(block[kLay.q + g * 64 + i]);
  constexpr size_t kGroups = r16::run_groups(kType);
  const size_t run = g / kGroups * kLay.run, in_run = g % kGroups;
  int v = block[kLay.q + run + in_run / 2 * 64 + i] >> (in_run % 2 * 4) & 15;
  if constexpr (kType == GGML_TYPE_Q5_0 || kType == GGML_TYPE_Q5_1 || kType == GGML_TYPE_Q5_K) {
    v |= (block[kLay.qh + run + i] >> in_run & 1) << 4;
  } else if constexpr (kType == GGML_TYPE_Q6_K) {
    v |= (block[kLay.qh + run + i] >> (in_run * 2) & 3) << 4;
  }
  return v;
}

// Dot products of the 16 rows with column j over k-groups [g0, g0 + count) of block b.
template <ggml_type kType>
inline void dots(const uint8_t* block, const Tile& tile, size_t j, size_t b, size_t g0, size_t count, int32_t* out) {
  constexpr r16::Layout kLay = r16::layout(kType);
  for (size_t r = 0; r < 16; ++r) out[r] = 0;
  for (size_t g = g0; g < g0 + count; ++g) {
    const size_t k = b * kLay.k + g * 4;
    const int8_t* x = tile.x.q(tile.t)[k / 64 * tile.w + j].q + k % 64;
    for (size_t r = 0; r < 16; ++r) {
      for (size_t i = 0; i < 4; ++i) out[r] += value<kType>(block, g, 4 * r + i) * x[i];
    }
  }
}

// `runs`: times 32 k, 2 but for a last half block.
template <ggml_type kType>
inline void block_legacy(const uint8_t* block, const Tile& tile, size_t j, size_t b, size_t runs, float* acc) {
  constexpr r16::Layout kLay = r16::layout(kType);
  constexpr int kOffset = kType == GGML_TYPE_Q4_0 ? 8 : kType == GGML_TYPE_Q5_0 ? 16 : 0;
  for (size_t s = 0; s < runs; ++s) {
    int32_t dot[16];
    dots<kType>(block, tile, j, b, s * 8, 8, dot);
    const ActScales32& scales = tile.x.scales32(tile.t)[b / 4 * tile.w + j];
    const size_t part = b % 4 * 2 + s;
    for (size_t r = 0; r < 16; ++r) {
      const float d = half_at(block + kLay.d + (s * 16 + r) * 2);
      const int32_t centred = dot[r] - kOffset * scales.sum[part];
      acc[r] = std::fma(static_cast<float>(centred), d * scales.scale[part], acc[r]);
      if (kLay.m != 0) acc[r] = std::fma(half_at(block + kLay.m + (s * 16 + r) * 2), scales.dsum[part], acc[r]);
    }
  }
}

template <ggml_type kType>
inline void block_q45_k(const uint8_t* block, const Tile& tile, size_t j, size_t b, float* acc) {
  constexpr r16::Layout kLay = r16::layout(kType);
  const ActScales256& scales = tile.x.scales256(tile.t)[b * tile.w + j];
  int32_t sum[16] = {};
  int32_t low[16] = {};
  for (size_t s = 0; s < 8; ++s) {
    int32_t dot[16];
    dots<kType>(block, tile, j, b, s * 8, 8, dot);
    for (size_t r = 0; r < 16; ++r) {
      sum[r] += block[kLay.sc + s * 16 + r] * dot[r];
      low[r] += block[kLay.mn + (s / 2 * 16 + r) * 2 + s % 2] * scales.sum32[s];
    }
  }
  for (size_t r = 0; r < 16; ++r) {
    const float dx = scales.scale;
    acc[r] = std::fma(static_cast<float>(sum[r]), half_at(block + kLay.d + r * 2) * dx, acc[r]);
    acc[r] = std::fma(-static_cast<float>(low[r]), half_at(block + kLay.m + r * 2) * dx, acc[r]);
  }
}

inline void block_q6_k(const uint8_t* block, const Tile& tile, size_t j, size_t b, float* acc) {
  constexpr r16::Layout kLay = r16::layout(GGML_TYPE_Q6_K);
  const ActScales256& scales = tile.x.scales256(tile.t)[b * tile.w + j];
  int32_t sum[16] = {};
  for (size_t s = 0; s < 16; ++s) {
    int32_t dot[16];
    dots<GGML_TYPE_Q6_K>(block, tile, j, b, s * 4, 4, dot);
    for (size_t r = 0; r < 16; ++r) {
      sum[r] += static_cast<int8_t>(block[kLay.sc + (s / 2 * 16 + r) * 2 + s % 2]) * (dot[r] - 32 * scales.sum16[s]);
    }
  }
  for (size_t r = 0; r < 16; ++r) {
    acc[r] = std::fma(static_cast<float>(sum[r]), half_at(block + kLay.d + r * 2) * scales.scale, acc[r]);
  }
}

template <ggml_type kType>
inline void unit(const uint8_t* unit, const Tile& tile, size_t j, float* y) {
  constexpr r16::Layout kLay = r16::layout(kType);
  const size_t n_blocks = (tile.x.cols() + kLay.k - 1) / kLay.k;
  float acc[16] = {};
  for (size_t b = 0; b < n_blocks; ++b) {
    const uint8_t* block = unit + b * kLay.bytes;
    if constexpr (kType == GGML_TYPE_Q6_K) {
      block_q6_k(block, tile, j, b, acc);
    } else if constexpr (kLay.k == 256) {
      block_q45_k<kType>(block, tile, j, b, acc);
    } else {
      block_legacy<kType>(block, tile, j, b, std::min<size_t>(2, tile.x.cols() / 32 - b * 2), acc);
    }
    if ((b + 1) * kLay.k % kSumSegment != 0 && b + 1 != n_blocks) continue;
    for (size_t r = 0; r < 16; ++r) {
      y[r] += acc[r];
      acc[r] = 0;
    }
  }
}

template <ggml_type kType>
void matmul_int(const PackedMatrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t ld_y) {
  for (size_t u = begin; u < end; ++u) {
    const size_t rows = std::min<size_t>(w.rows() - u * 16, 16);
    for (size_t t = 0; t < x.tiles(); ++t) {
      const Tile tile{x, t, x.tile_rows(t)};
      for (size_t j = 0; j < tile.w; ++j) {
        float sums[16] = {};
        unit<kType>(reinterpret_cast<const uint8_t*>(w.unit(u)), tile, j, sums);
        std::memcpy(y + (x.tile_begin(t) + j) * ld_y + u * 16, sums, rows * sizeof(float));
      }
    }
  }
}

}  // namespace s3d::portable
