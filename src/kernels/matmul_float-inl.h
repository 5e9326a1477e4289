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

// sum[j] += columns [begin, end) of one unit times row j of kW rows that lie cols() apart: one segment.
template <ggml_type kType, int kW>
inline void float_segment(const std::byte* unit, const float* x, size_t stride, size_t begin, size_t end, F32x16* sum) {
  F32x16 even[kW];
  F32x16 odd[kW];
  for (int j = 0; j < kW; ++j) even[j] = odd[j] = zero();
  size_t k = begin;
  for (; k + 1 < end; k += 2) {
    const F32x16 w0 = load_weights<kType>(unit, k);
    const F32x16 w1 = load_weights<kType>(unit, k + 1);
    for (int j = 0; j < kW; ++j) {
      even[j] = fma(w0, set1(x[j * stride + k]), even[j]);
      odd[j] = fma(w1, set1(x[j * stride + k + 1]), odd[j]);
    }
  }
  if (k < end) {
    const F32x16 w0 = load_weights<kType>(unit, k);
    for (int j = 0; j < kW; ++j) even[j] = fma(w0, set1(x[j * stride + k]), even[j]);
  }
  for (int j = 0; j < kW; ++j) sum[j] = add(sum[j], add(even[j], odd[j]));
}

// One unit times kW rows; results to y, rows ld_y apart.
template <ggml_type kType, int kW>
inline void float_rows(const std::byte* unit, const float* x, size_t cols, size_t count, float* y, size_t ld_y) {
  F32x16 sum[kW];
  for (int j = 0; j < kW; ++j) sum[j] = zero();
  for (size_t begin = 0; begin < cols; begin += kSumSegment) {
    const size_t end = cols - begin < kSumSegment ? cols : begin + kSumSegment;
    float_segment<kType, kW>(unit, x, cols, begin, end, sum);
  }
  for (int j = 0; j < kW; ++j) {
    alignas(64) float out[16];
    store(out, sum[j]);
    std::memcpy(y + j * ld_y, out, count * sizeof(float));
  }
}

template <ggml_type kType>
void matmul_float(const PackedMatrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t ld_y) {
  for (size_t u = begin; u < end; ++u) {
    const size_t count = std::min<size_t>(w.rows() - u * 16, 16);
    float* out = y + u * 16;
    for (size_t row = 0; row < x.n(); row += 2) {  // pairs: four chains of two registers on AVX2
      row + 1 < x.n() ? float_rows<kType, 2>(w.unit(u), x.f(row), x.cols(), count, out + row * ld_y, ld_y)
                      : float_rows<kType, 1>(w.unit(u), x.f(row), x.cols(), count, out + row * ld_y, ld_y);
    }
  }
}

}  // namespace s3d::S3D_ISA_NS
