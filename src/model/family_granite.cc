// Granite 3 (dense): Llama with a scale on the embedding, on what each sublayer adds, on attention and on the logits.
#include "model/family.h"

namespace s3d {
namespace {

constexpr std::string_view kGraniteExtra[] = {"rope_freqs.weight"};

// x + r f(norm(x)) in each sublayer: with y = x / r this is y + f(norm(y)), where the norm's epsilon is divided by r²,
// because a norm does not see the scale of its input. So r goes into the embedding's scale and epsilon alone.
Status scale_residuals(const ConfigReader& reader, ModelConfig& config) {
  S3D_ASSIGN(const float embedding, reader.optional_real("embedding_scale", 1.0f, 1e-6, 1e6));
  S3D_ASSIGN(const float residual, reader.optional_real("residual_scale", 1.0f, 1e-4, 1e4));
  config.embedding_scale = embedding / residual;
  config.norm_eps /= residual * residual;
  return Ok();
}

Status configure_granite(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kInterleaved;  // converters permute Q and K rows for it
  S3D_TRY(add_rope_freqs(reader, config));
  S3D_TRY(scale_residuals(reader, config));
  S3D_ASSIGN(config.attention_scale, reader.optional_real("attention.scale", config.attention_scale, 1e-6, 1e6));
  S3D_ASSIGN(const float divisor, reader.required_real("logit_scale", 1e-6, 1e6));
  config.logit_scale = 1 / divisor;
  S3D_ASSIGN(const auto rotates, reader.file().boolean("granite.rope.scaling.finetuned"));
  if (rotates.has_value() && !*rotates) config.rope.dims = 0;
  return Ok();
}

}  // namespace

constexpr Family kFamilyGranite = {"granite", {}, kGraniteExtra, configure_granite};

}  // namespace s3d
