// Tensors as floats, through ggml's own conversions.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"

namespace s3d {

// Row `row` of a tensor as floats; `out`: [tensor.cols()]. The tensor's type must be one that the engine runs
// (is_supported_weight) and the row must exist: both are checked when the model is loaded.
void row_to_floats(const Tensor& tensor, int64_t row, float* out);

// All rows, one after another; `out`: [tensor.rows() * tensor.cols()]. The type as for row_to_floats.
void tensor_to_floats(const Tensor& tensor, float* out);

// All values of a one-dimensional tensor of type F32, F16 or BF16. Errors name the file, the tensor, the expected and
// the found shape or type.
Result<std::vector<float>> read_vector(const GgufFile& file, const Tensor& tensor, size_t length);

}  // namespace s3d
