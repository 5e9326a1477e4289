// The matmul of each weight type (included last by isa_*.cc).

namespace s3d::S3D_ISA_NS {

inline void matmul(const PackedMatrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t ld_y) {
  S3D_DCHECK(x.format() == act_format(w.type()) && x.cols() == w.cols() && end <= w.units());
  switch (w.type()) {
    case GGML_TYPE_F32:
      return matmul_float<GGML_TYPE_F32>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_F16:
      return matmul_float<GGML_TYPE_F16>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_BF16:
      return matmul_float<GGML_TYPE_BF16>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q8_0:
      return matmul_int<GGML_TYPE_Q8_0>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q4_0:
      return matmul_int<GGML_TYPE_Q4_0>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q4_1:
      return matmul_int<GGML_TYPE_Q4_1>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q5_0:
      return matmul_int<GGML_TYPE_Q5_0>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q5_1:
      return matmul_int<GGML_TYPE_Q5_1>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q4_K:
      return matmul_int<GGML_TYPE_Q4_K>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q5_K:
      return matmul_int<GGML_TYPE_Q5_K>(w, begin, end, x, y, ld_y);
    case GGML_TYPE_Q6_K:
      return matmul_int<GGML_TYPE_Q6_K>(w, begin, end, x, y, ld_y);
    default:
      S3D_CHECK(false, "a packed matrix of an unsupported type");
  }
}

}  // namespace s3d::S3D_ISA_NS
