// Gemma 2: norms before and after each sublayer, every other layer with a sliding window, soft caps on attention scores
// and logits. (Its norms multiply by 1 + w; converters store 1 + w.)
#include <cmath>

#include "model/family.h"

namespace s3d {
namespace {

// The 27B model is the only one whose attention is scaled by d_model / n_heads instead of head_dim; it is known by
// its depth, as in Google's own configuration files.
constexpr int kLayersOfGemma2With27B = 46;

Status configure_gemma2(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kSplitHalves;
  config.activation = Activation::kGeluTanh;
  config.post_norms = true;
  config.embedding_scale = std::sqrt(static_cast<float>(config.d_model));
  if (config.n_layers == kLayersOfGemma2With27B) {
    config.attention_scale = 1 / std::sqrt(static_cast<float>(config.d_model) / static_cast<float>(config.n_heads));
  }
  S3D_ASSIGN(config.attention_softcap, reader.optional_real("attn_logit_softcapping", 50.0f, 0, 1e6));
  S3D_ASSIGN(config.logit_softcap, reader.optional_real("final_logit_softcapping", 30.0f, 0, 1e6));
  S3D_ASSIGN(config.sliding_window, reader.optional_int("attention.sliding_window", 4096, 0, 1 << 26));
  if (config.sliding_window == 0) return Ok();
  S3D_ASSIGN(config.local_layer, reader.window_layers("attention.sliding_window_pattern", config.n_layers, 2));
  return Ok();
}

}  // namespace

constexpr Family kFamilyGemma2 = {"gemma2", {}, {}, configure_gemma2};

}  // namespace s3d
