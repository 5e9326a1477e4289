// Walks blocks, units and tiles for the SIMD instruction sets (included by isa_*.cc after their blocks).

namespace s3d::S3D_ISA_NS {

// One unit of K-quants times a tile of kW rows; out[row][16]. A block is a segment: each adds what is its own.
template <ggml_type kType, int kW>
S3D_INLINED inline void unit_of_k(const uint8_t* unit, const Activations& x, size_t t, Sums* sum) {
  constexpr r16::Layout kLay = r16::layout(kType);
  static_assert(kLay.k == kSumSegment);
  Block256 at{x.q(t)->q, x.scales256(t)};
  const size_t n_blocks = x.cols() / kLay.k;
  const bool ahead = asks_ahead<kType>(x, t);
  for (size_t b = 0; b < n_blocks; ++b) {
    const uint8_t* block = unit + b * kLay.bytes;
    if (ahead) prefetch<kType>(block);
    if constexpr (kType == GGML_TYPE_Q6_K) {
      block_q6_k<kW>(block, at, sum);
    } else {
      block_q45_k<kType, kW>(block, at, sum);
    }
    at.q += 4 * kW * kRowStep;
    at.scales += kW;
  }
}

// The same for a per-32 type: a segment is four blocks, the last one perhaps a half.
template <ggml_type kType, int kW>
S3D_INLINED inline void unit_of_32(const uint8_t* unit, const Activations& x, size_t t, Sums* sum) {
  constexpr r16::Layout kLay = r16::layout(kType);
  Block32 at{x.q(t)->q, x.scales32(t), 0};
  const bool ahead = asks_ahead<kType>(x, t);
  const uint8_t* block = unit;
  for (size_t begin = 0; begin < x.cols(); begin += kSumSegment) {
    const size_t cols = x.cols() - begin < kSumSegment ? x.cols() - begin : kSumSegment;
    Sums chain[kW];
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) chain[j] = no_sums();
    for (at.part = 0; at.part + 2 <= cols / 32; at.part += 2) {
      if (ahead) prefetch<kType>(block);
      block_legacy<kType, kW>(block, at, chain);
      at.q += kW * kRowStep;
      block += kLay.bytes;
    }
    if (cols % kLay.k != 0) block_legacy<kType, kW, 1>(block, at, chain);
    at.scales += kW;
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) sum[j] = add_sums(sum[j], chain[j]);
  }
}

template <ggml_type kType, int kW>
inline void run_tile(const uint8_t* unit, size_t rows, const Activations& x, size_t t, float* y, size_t ld_y) {
  Sums sum[kW];
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) sum[j] = no_sums();
  if constexpr (r16::layout(kType).k == kSumSegment) {
    unit_of_k<kType, kW>(unit, x, t, sum);
  } else {
    unit_of_32<kType, kW>(unit, x, t, sum);
  }
  if (rows == 16) {
#pragma GCC unroll 8
    for (int j = 0; j < kW; ++j) store_sums(y + j * ld_y, sum[j]);
    return;
  }
  float out[kW][16];
#pragma GCC unroll 8
  for (int j = 0; j < kW; ++j) store_sums(out[j], sum[j]);
  for (int j = 0; j < kW; ++j) std::memcpy(y + j * ld_y, out[j], rows * sizeof(float));
}

using RunTile = void (*)(const uint8_t*, size_t, const Activations&, size_t, float*, size_t);

// run_tile for every width up to kWidestTile.
template <ggml_type kType, int... kW>
constexpr auto run_tiles(std::integer_sequence<int, kW...>) {
  return std::array<RunTile, sizeof...(kW)>{&run_tile<kType, kW + 1>...};
}

// Every tile of x passes over a unit while it is in the cache: weights come from memory once.
template <ggml_type kType>
void matmul_int(const PackedMatrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t ld_y) {
  S3D_DCHECK(x.tile_rows(x.tiles() - 1) <= kWidestTile);
  static constexpr auto kRun = run_tiles<kType>(std::make_integer_sequence<int, kWidestTile>{});
  for (size_t u = begin; u < end; ++u) {
    const auto* unit = reinterpret_cast<const uint8_t*>(w.unit(u));
    const size_t rows = std::min<size_t>(w.rows() - u * 16, 16);
    for (size_t t = 0; t < x.tiles(); ++t) {
      kRun[x.tile_rows(t) - 1](unit, rows, x, t, y + x.tile_begin(t) * ld_y + u * 16, ld_y);
    }
  }
}

}  // namespace s3d::S3D_ISA_NS
