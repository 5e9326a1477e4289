// Gemma 3, the text model: norms before and after each sublayer, norms on Q and K, sliding-window layers with a RoPE
// of their own. (Gemma's norms multiply by 1 + w; converters store 1 + w, so nothing is added here.)
#include <cmath>

#include "model/family.h"

namespace s3d {
namespace {

// The 27B model is the only one whose attention is scaled by d_model / n_heads instead of head_dim; it is known by
// its depth, as in Google's own configuration files.
constexpr int kLayersOfGemma3With27B = 62;

Status configure_gemma3(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kSplitHalves;
  config.activation = Activation::kGeluTanh;
  config.post_norms = true;
  config.embedding_scale = std::sqrt(static_cast<float>(config.d_model));
  if (config.n_layers == kLayersOfGemma3With27B) {
    config.attention_scale = 1 / std::sqrt(static_cast<float>(config.d_model) / static_cast<float>(config.n_heads));
  }
  S3D_ASSIGN(config.rope.base, reader.optional_real("rope.freq_base", 1e6f, 1, 1e12));
  S3D_ASSIGN(config.rope_local.base, reader.optional_real("rope.freq_base_swa", 10000.0f, 1, 1e12));
  config.rope_local.scale = 1;  // scaling is for the full-attention layers only
  config.rope_local.factors.clear();
  config.rope_local.magnitude = 1;
  S3D_ASSIGN(config.logit_softcap, reader.optional_real("final_logit_softcapping", 0.0f, 0, 1e6));
  S3D_ASSIGN(config.sliding_window, reader.optional_int("attention.sliding_window", 0, 0, 1 << 26));
  if (config.sliding_window == 0) return Ok();
  // Five layers with a window, then one without, unless the file says otherwise.
  S3D_ASSIGN(config.local_layer, reader.window_layers("attention.sliding_window_pattern", config.n_layers, 6));
  return Ok();
}

}  // namespace

constexpr Family kFamilyGemma3 = {"gemma3", {.qk_norm = true}, {}, configure_gemma3};

}  // namespace s3d
