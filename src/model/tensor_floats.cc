#include "model/tensor_floats.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>

#include "base/check.h"
#include "base/index.h"

namespace s3d {

void row_to_floats(const Tensor& tensor, int64_t row, float* out) {
  S3D_CHECK(row >= 0 && row < tensor.rows(), "row out of range in " + tensor.name);
  const int64_t cols = tensor.cols();
  const std::byte* data = tensor.data + usize(row) * ggml_row_size(tensor.type, cols);
  if (tensor.type == GGML_TYPE_F32) {
    std::memcpy(out, data, usize(cols) * sizeof(float));
    return;
  }
  const ggml_to_float_t convert = ggml_get_type_traits(tensor.type)->to_float;
  S3D_CHECK(convert != nullptr, "no conversion to float for " + tensor.name);
  convert(data, out, cols);
}

void tensor_to_floats(const Tensor& tensor, float* out) {
  for (int64_t row = 0; row < tensor.rows(); ++row) row_to_floats(tensor, row, out + row * tensor.cols());
}

Result<std::vector<float>> read_vector(const GgufFile& file, const Tensor& tensor, size_t length) {
  if (tensor.type != GGML_TYPE_F32 && tensor.type != GGML_TYPE_F16 && tensor.type != GGML_TYPE_BF16) {
    return Error{fmt::format("{}: tensor \"{}\" has type {}, expected f32, f16 or bf16", file.path(), tensor.name,
                             ggml_type_name(tensor.type))};
  }
  if (tensor.rows() != 1 || usize(tensor.cols()) != length) {
    return Error{fmt::format("{}: tensor \"{}\" has the shape [{}], expected [{}]", file.path(), tensor.name,
                             fmt::join(tensor.shape, ", "), length)};
  }
  std::vector<float> values(length);
  row_to_floats(tensor, 0, values.data());
  return values;
}

}  // namespace s3d
