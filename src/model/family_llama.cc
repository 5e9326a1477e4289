// Llama 2 and 3, SmolLM2, Mistral and everything else that is stored as "llama".
#include "model/family.h"

namespace s3d {
namespace {

constexpr std::string_view kLlamaExtra[] = {"rope_freqs.weight"};

Status configure_llama(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kInterleaved;  // converters permute Q and K rows for it
  // Llama 3.1 and later: the frequency divisors of its long-context scaling, worked out by the converter.
  S3D_ASSIGN(config.rope.factors, reader.factors("rope_freqs.weight", config.rope.dims / 2));
  return Ok();
}

}  // namespace

constexpr Family kFamilyLlama = {"llama", {.qkv_bias = QkvBias::kOptional}, kLlamaExtra, configure_llama};

}  // namespace s3d
