// Qwen3 (dense): RMS norms on the heads of Q and K, a head size of its own (attention.key_length), no biases.
#include "model/family.h"

namespace s3d {
namespace {

Status configure_qwen3(const ConfigReader&, ModelConfig& config) {
  config.rope_style = RopeStyle::kSplitHalves;
  return Ok();
}

}  // namespace

constexpr Family kFamilyQwen3 = {"qwen3", {.qk_norm = true}, {}, configure_qwen3};

}  // namespace s3d
