// Gemma 3, the text model: norms on Q and K, sliding windows with a RoPE of their own in five of six layers.
#include "model/gemma.h"

namespace s3d {
namespace {

Status configure_gemma3(const ConfigReader& reader, ModelConfig& config) {
  S3D_TRY(configure_gemma(reader, {.layers_of_27b = 62, .logit_softcap = 0, .sliding_window = 0, .window_period = 6},
                          config));
  S3D_ASSIGN(config.rope.base, reader.optional_real("rope.freq_base", 1e6f, 1, 1e12));
  S3D_ASSIGN(const float base, reader.optional_real("rope.freq_base_swa", 10000.0f, 1, 1e12));
  config.rope_local = {.dims = config.rope.dims, .base = base};  // scaling is for the full-attention layers only
  return Ok();
}

}  // namespace

constexpr Family kFamilyGemma3 = {"gemma3", {.qk_norm = true}, {}, configure_gemma3};

}  // namespace s3d
