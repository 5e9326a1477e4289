// The matmul for F32, F16 and BF16 weights, over F32x16 (included by isa_*.cc after simd.h).
//
// Each segment of an output is two chains of fused multiply-adds, over even and odd k, added at its end: one chain
// would wait for its own latency.

namespace s3d::S3D_ISA_NS {

template <ggml_type kType>
inline F32x16 load_weights(const std::byte* unit, size_t k) {
  if constexpr (kType == GGML_TYPE_F32) return load(reinterpret_cast<const float*>(unit) + k * 16);
  if constexpr (kType == GGML_TYPE_F16) return load_f16(reinterpret_cast<const uint16_t*>(unit) + k * 16);
  return load_bf16(reinterpret_cast<const uint16_t*>(unit) + k * 16);
}

// sum[j] += columns [begin, end) of one unit times rows [j, j + kW) of a tile of `width` rows: one segment.
template <ggml_type kType, int kW>
inline void float_segment(const std::byte* unit, const float* x, size_t width, size_t begin, size_t end, F32x16* sum) {
  F32x16 even[kW];
  F32x16 odd[kW];
  for (int j = 0; j < kW; ++j) even[j] = odd[j] = zero();
  size_t k = begin;
  for (; k + 1 < end; k += 2) {
    const F32x16 w0 = load_weights<kType>(unit, k);
    const F32x16 w1 = load_weights<kType>(unit, k + 1);
    for (int j = 0; j < kW; ++j) {
      even[j] = fma(w0, set1(x[k * width + j]), even[j]);
      odd[j] = fma(w1, set1(x[(k + 1) * width + j]), odd[j]);
    }
  }
  if (k < end) {
    const F32x16 w0 = load_weights<kType>(unit, k);
    for (int j = 0; j < kW; ++j) even[j] = fma(w0, set1(x[k * width + j]), even[j]);
  }
  for (int j = 0; j < kW; ++j) sum[j] = add(sum[j], add(even[j], odd[j]));
}

// One unit times rows [j, j + kW) of a tile; results to out[row][16].
template <ggml_type kType, int kW>
inline void float_columns(const std::byte* unit, const float* x, size_t width, size_t cols, float (*out)[16]) {
  F32x16 sum[kW];
  for (int j = 0; j < kW; ++j) sum[j] = zero();
  for (size_t begin = 0; begin < cols; begin += kSumSegment) {
    const size_t end = cols - begin < kSumSegment ? cols : begin + kSumSegment;
    float_segment<kType, kW>(unit, x, width, begin, end, sum);
  }
  for (int j = 0; j < kW; ++j) store(out[j], sum[j]);
}

template <ggml_type kType>
void matmul_float(const PackedMatrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t ld_y) {
  for (size_t u = begin; u < end; ++u) {
    const size_t rows = std::min<size_t>(w.rows() - u * 16, 16);
    for (size_t t = 0; t < x.tiles(); ++t) {
      const size_t width = x.tile_rows(t);
      alignas(64) float acc[Activations::kMaxTile][16];
      for (size_t j = 0; j < width; j += 2) {  // pairs of columns: four chains of two registers on AVX2
        const float* column = x.f(t) + j;
        j + 1 < width ? float_columns<kType, 2>(w.unit(u), column, width, x.cols(), acc + j)
                      : float_columns<kType, 1>(w.unit(u), column, width, x.cols(), acc + j);
      }
      for (size_t j = 0; j < width; ++j) {
        std::memcpy(y + (x.tile_begin(t) + j) * ld_y + u * 16, acc[j], rows * sizeof(float));
      }
    }
  }
}

}  // namespace s3d::S3D_ISA_NS
