// Walks units and tiles for the SIMD instruction sets (included by isa_*.cc after their unit_tile).

namespace s3d::S3D_ISA_NS {

template <ggml_type kType, int kW>
inline void run_tile(const uint8_t* unit, size_t rows, const Activations& x, size_t t, float* y, size_t ld_y) {
  alignas(64) float acc[kW][16];
  unit_tile<kType, kW>(unit, x, t, acc);
  for (int j = 0; j < kW; ++j) std::memcpy(y + j * ld_y, acc[j], rows * sizeof(float));
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
