// Walks units and tiles for the SIMD instruction sets (included by isa_*.cc after their unit_tile).

namespace s3d::S3D_ISA_NS {

template <ggml_type kType, int kW>
inline void run_tile(const uint8_t* unit, size_t rows, const Activations& x, size_t t, float* y, size_t ld_y) {
  alignas(64) float acc[kW][16];
  unit_tile<kType, kW>(unit, x, t, acc);
  for (int j = 0; j < kW; ++j) std::memcpy(y + j * ld_y, acc[j], rows * sizeof(float));
}

// Every tile of x passes over a unit while it is in the cache: weights come from memory once.
template <ggml_type kType>
void matmul_int(const PackedMatrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t ld_y) {
  for (size_t u = begin; u < end; ++u) {
    const auto* unit = reinterpret_cast<const uint8_t*>(w.unit(u));
    const size_t rows = std::min<size_t>(w.rows() - u * 16, 16);
    for (size_t t = 0; t < x.tiles(); ++t) {
      float* out = y + x.tile_begin(t) * ld_y + u * 16;
      switch (x.tile_rows(t)) {
        case 1:
          run_tile<kType, 1>(unit, rows, x, t, out, ld_y);
          break;
        case 2:
          run_tile<kType, 2>(unit, rows, x, t, out, ld_y);
          break;
        case 3:
          run_tile<kType, 3>(unit, rows, x, t, out, ld_y);
          break;
        case 4:
          run_tile<kType, 4>(unit, rows, x, t, out, ld_y);
          break;
        case 5:
          run_tile<kType, 5>(unit, rows, x, t, out, ld_y);
          break;
        case 6:
          run_tile<kType, 6>(unit, rows, x, t, out, ld_y);
          break;
        case 7:
          run_tile<kType, 7>(unit, rows, x, t, out, ld_y);
          break;
        default:
          run_tile<kType, 8>(unit, rows, x, t, out, ld_y);
          break;
      }
    }
  }
}

}  // namespace s3d::S3D_ISA_NS
