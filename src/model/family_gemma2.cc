// Gemma 2: every other layer with a sliding window, soft caps on attention scores and logits.
#include "model/gemma.h"

namespace s3d {
namespace {

Status configure_gemma2(const ConfigReader& reader, ModelConfig& config) {
  S3D_TRY(configure_gemma(
      reader, {.layers_of_27b = 46, .logit_softcap = 30, .sliding_window = 4096, .window_period = 2}, config));
  S3D_ASSIGN(config.attention_softcap, reader.optional_real("attn_logit_softcapping", 50.0f, 0, 1e6));
  return Ok();
}

}  // namespace

constexpr Family kFamilyGemma2 = {"gemma2", {}, {}, configure_gemma2};

}  // namespace s3d
