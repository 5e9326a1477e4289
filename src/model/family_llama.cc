// Llama 2 and 3, SmolLM2, Mistral and everything else that is stored as "llama".
#include <utility>
#include <vector>

#include "model/family.h"

namespace s3d {
namespace {

constexpr std::string_view kLlamaExtra[] = {"rope_freqs.weight"};

Status configure_llama(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kInterleaved;  // converters permute Q and K rows for it
  // Llama 3.1 and later: the frequency divisors of its long-context scaling, worked out by the converter.
  S3D_ASSIGN(std::vector<float> factors, reader.factors("rope_freqs.weight", config.rope.dims / 2));
  for (size_t i = 0; i < factors.size() && !config.rope.factors.empty(); ++i) factors[i] *= config.rope.factors[i];
  if (!factors.empty()) config.rope.factors = std::move(factors);
  return Ok();
}

}  // namespace

constexpr Family kFamilyLlama = {"llama", {.qkv_bias = QkvBias::kOptional}, kLlamaExtra, configure_llama};

}  // namespace s3d
