// Qwen2 and Qwen2.5 (dense): biases on Q, K and V.
#include "model/family.h"

namespace s3d {
namespace {

Status configure_qwen2(const ConfigReader&, ModelConfig& config) {
  config.rope_style = RopeStyle::kSplitHalves;
  return Ok();
}

}  // namespace

constexpr Family kFamilyQwen2 = {"qwen2", {.qkv_bias = QkvBias::kOptional}, {}, configure_qwen2};

}  // namespace s3d
