// Llama 2 and 3, SmolLM2, Mistral and everything else that is stored as "llama".
#include "model/family.h"

namespace s3d {
namespace {

constexpr std::string_view kLlamaExtra[] = {"rope_freqs.weight"};

Status configure_llama(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kInterleaved;  // converters permute Q and K rows for it
  return add_rope_freqs(reader, config);
}

}  // namespace

constexpr Family kFamilyLlama = {"llama", {.qkv_bias = QkvBias::kOptional}, kLlamaExtra, configure_llama};

}  // namespace s3d
