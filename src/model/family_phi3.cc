// Phi-3, Phi-3.5 and Phi-4 (dense): fused QKV and gate-up, LongRoPE, a sliding window on all layers as in
// transformers (llama.cpp reads the window and leaves it out).
#include <cmath>
#include <utility>

#include "model/family.h"

namespace s3d {
namespace {

constexpr std::string_view kLongFactors = "rope_factors_long.weight";
constexpr std::string_view kShortFactors = "rope_factors_short.weight";
constexpr std::string_view kPhi3Extra[] = {kLongFactors, kShortFactors};

// LongRoPE (arXiv 2402.13753, and the models' own code): one set of divisors for texts up to the original context,
// another for longer ones. The magnitude depends on the trained context only, so it is the same for both.
Status read_long_rope(const ConfigReader& reader, ModelConfig& config) {
  S3D_ASSIGN(std::vector<float> long_factors, reader.factors(kLongFactors, config.rope.dims / 2));
  S3D_ASSIGN(std::vector<float> short_factors, reader.factors(kShortFactors, config.rope.dims / 2));
  if (long_factors.empty() != short_factors.empty()) {
    return reader.error("only one of rope_factors_long.weight and rope_factors_short.weight is there, expected both");
  }
  if (long_factors.empty()) return Ok();
  S3D_ASSIGN(const int original,
             reader.optional_int("rope.scaling.original_context_length", config.context_length, 2, 1 << 26));
  config.short_context = original;
  config.rope.factors = std::move(short_factors);
  config.rope.long_factors = std::move(long_factors);
  const double ratio = static_cast<double>(config.context_length) / original;
  const double magnitude = ratio > 1 ? std::sqrt(1 + std::log(ratio) / std::log(static_cast<double>(original))) : 1;
  S3D_ASSIGN(config.rope.magnitude,
             reader.optional_real("rope.scaling.attn_factor", static_cast<float>(magnitude), 1e-3, 1e3));
  return Ok();
}

Status configure_phi3(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kSplitHalves;
  S3D_TRY(read_long_rope(reader, config));
  S3D_ASSIGN(config.sliding_window, reader.optional_int("attention.sliding_window", 0, 0, 1 << 26));
  if (config.sliding_window > 0) config.local_layer.assign(static_cast<size_t>(config.n_layers), true);
  return Ok();
}

}  // namespace

constexpr Family kFamilyPhi3 = {"phi3", {.fused_qkv = true, .fused_gate_up = true}, kPhi3Extra, configure_phi3};

}  // namespace s3d
