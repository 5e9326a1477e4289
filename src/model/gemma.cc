#include "model/gemma.h"

#include <cmath>

namespace s3d {

Status configure_gemma(const ConfigReader& reader, const GemmaDefaults& defaults, ModelConfig& config) {
  config.rope_style = RopeStyle::kSplitHalves;
  config.activation = Activation::kGeluTanh;
  config.post_norms = true;
  config.embedding_scale = std::sqrt(static_cast<float>(config.d_model));
  if (config.n_layers == defaults.layers_of_27b) {
    config.attention_scale = 1 / std::sqrt(static_cast<float>(config.d_model) / static_cast<float>(config.n_heads));
  }
  S3D_ASSIGN(config.logit_softcap, reader.optional_real("final_logit_softcapping", defaults.logit_softcap, 0, 1e6));
  S3D_ASSIGN(config.sliding_window,
             reader.optional_int("attention.sliding_window", defaults.sliding_window, 0, 1 << 26));
  if (config.sliding_window == 0) return Ok();
  S3D_ASSIGN(config.local_layer,
             reader.window_layers("attention.sliding_window_pattern", config.n_layers, defaults.window_period));
  return Ok();
}

}  // namespace s3d
