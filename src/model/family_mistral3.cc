// The text model of Mistral Small 3.1 and later and of Ministral 3: Llama, mostly with YaRN. (Older Mistral models are
// stored as "llama".)
#include <algorithm>

#include "model/family.h"

namespace s3d {
namespace {

constexpr std::string_view kMistral3Extra[] = {"rope_freqs.weight"};

Status configure_mistral3(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kInterleaved;  // converters permute Q and K rows for it
  S3D_TRY(add_rope_freqs(reader, config));
  // Attention that gets sharper with the position begins beyond the original context; it is not computed here, so the
  // context ends there.
  S3D_ASSIGN(const float sharper, reader.optional_real("attention.temperature_scale", 0.0f, 0, 1e3));
  if (sharper == 0) return Ok();
  S3D_ASSIGN(const int original, reader.required_int("rope.scaling.original_context_length", 1, 1 << 26));
  config.context_length = std::min(config.context_length, original);
  return Ok();
}

}  // namespace

constexpr Family kFamilyMistral3 = {"mistral3", {.qkv_bias = QkvBias::kOptional}, kMistral3Extra, configure_mistral3};

}  // namespace s3d
