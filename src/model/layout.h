// Which tensors a model's file must and may hold, and their shapes: worked out from the config before anything is
// packed. Internal to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "model/config.h"
#include "model/family.h"

namespace s3d {

// One tensor that may be in the file.
struct TensorSpec {
  std::string name;
  int64_t rows;  // 1 for a vector
  int64_t cols;
  bool matrix;    // weights for the kernels (any supported type); else a vector (F32, F16, BF16)
  bool optional;  // may be absent
};

// "blk.LAYER.NAME"
std::string layer_tensor(int layer, std::string_view name);

// The tensors of one layer, and of the whole model (layers included), in the order of use.
std::vector<TensorSpec> layer_specs(const ModelConfig& config, const LayerLayout& layout, int layer);
std::vector<TensorSpec> model_specs(const ModelConfig& config, const Family& family);

// Checks that the file holds every required tensor with its shape and a supported type, and no tensor that this
// family's pass would silently ignore. Errors name file and tensor, the expected and the found shape or type.
Status check_tensors(const GgufFile& file, const ModelConfig& config, const Family& family);

}  // namespace s3d
