#include "model/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/index.h"
#include "model/family.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

// Bounds on what a file may claim, far above any real model, so that no sum or product of them can overflow and
// nothing large is allocated from a lie. Matrices are also checked against the tensors before packing.
constexpr int kMaxLayers = 1024;
constexpr int kMaxDModel = 1 << 17;
constexpr int kMaxHeads = 2048;
constexpr int kMaxHeadDim = 1024;
constexpr int kMaxDff = 1 << 20;
constexpr int64_t kMaxVocab = 1 << 23;
constexpr int kMaxContext = 1 << 26;

Status read_sizes(const ConfigReader& reader, ModelConfig& config) {
  S3D_ASSIGN(config.n_layers, reader.required_int("block_count", 1, kMaxLayers));
  S3D_ASSIGN(config.d_model, reader.required_int("embedding_length", 1, kMaxDModel));
  const int layers = config.n_layers;
  S3D_ASSIGN(config.d_ff, reader.required_layer_int("feed_forward_length", layers, 1, kMaxDff));
  S3D_ASSIGN(config.n_heads, reader.required_layer_int("attention.head_count", layers, 1, kMaxHeads));
  S3D_ASSIGN(config.n_kv_heads,
             reader.optional_layer_int("attention.head_count_kv", layers, config.n_heads, 1, kMaxHeads));
  S3D_ASSIGN(config.context_length, reader.required_int("context_length", 1, kMaxContext));
  S3D_ASSIGN(config.norm_eps, reader.required_real("attention.layer_norm_rms_epsilon", 0, 1));
  if (config.n_heads % config.n_kv_heads != 0) {
    return reader.error(
        fmt::format("{} heads cannot share {} key-value heads: expected a divisor", config.n_heads, config.n_kv_heads));
  }
  return Ok();
}

Status read_head_size(const ConfigReader& reader, ModelConfig& config) {
  const int usual = config.d_model / config.n_heads;
  S3D_ASSIGN(config.head_dim, reader.optional_int("attention.key_length", usual, 1, kMaxHeadDim));
  S3D_ASSIGN(const int value_dim, reader.optional_int("attention.value_length", config.head_dim, 1, kMaxHeadDim));
  if (config.head_dim < 1 || config.head_dim > kMaxHeadDim) {
    return reader.error(fmt::format("heads of {} values (embedding_length / head_count), expected 1 to {}",
                                    config.head_dim, kMaxHeadDim));
  }
  if (value_dim != config.head_dim) {
    return reader.error(fmt::format("keys of {} and values of {} numbers a head: different sizes are not supported",
                                    config.head_dim, value_dim));
  }
  config.attention_scale = 1 / std::sqrt(static_cast<float>(config.head_dim));
  return Ok();
}

// YaRN (arXiv 2309.00071), as llama.cpp reads it: fast pairs keep their frequency, slow ones are divided by `factor`,
// and those between are mixed. Written as divisors of the frequencies.
Status read_yarn(const ConfigReader& reader, float factor, ModelConfig& config) {
  S3D_ASSIGN(const int original,
             reader.optional_int("rope.scaling.original_context_length", config.context_length, 1, kMaxContext));
  S3D_ASSIGN(const float fast, reader.optional_real("rope.scaling.yarn_beta_fast", 32.0f, 1e-3, 1e6));
  S3D_ASSIGN(const float slow, reader.optional_real("rope.scaling.yarn_beta_slow", 1.0f, 1e-3, 1e6));
  S3D_ASSIGN(const float mix, reader.optional_real("rope.scaling.yarn_ext_factor", 1.0f, -1, 1));
  S3D_ASSIGN(const float attention, reader.optional_real("rope.scaling.attn_factor", 1.0f, 1e-3, 1e3));
  S3D_ASSIGN(const float log_multiplier, reader.optional_real("rope.scaling.yarn_log_multiplier", 0.0f, 0, 1e3));
  RopeConfig& rope = config.rope;
  // The pair that turns so many times within the original context.
  const auto pair_of = [&](double turns) {
    return rope.dims * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(double{rope.base}));
  };
  const double low = std::max(0.0, std::floor(pair_of(fast)));
  const double high = std::min(rope.dims - 1.0, std::ceil(pair_of(slow)));
  for (int i = 0; i < rope.dims / 2; ++i) {
    const double ramp = std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
    const double kept = (1 - ramp) * (mix < 0 ? 1 : mix);
    rope.factors.push_back(static_cast<float>(1 / ((1 - kept) / factor + kept)));
  }
  const double log_factor = mix == 0 ? 0 : std::log(std::max(1.0, double{factor}));
  const double magnitude = (1 + 0.1 * log_factor) / (1 + 0.1 * double{log_multiplier} * log_factor);
  rope.magnitude = static_cast<float>(magnitude * double{attention});
  return Ok();
}

Status read_rope(const ConfigReader& reader, ModelConfig& config) {
  S3D_ASSIGN(config.rope.dims, reader.optional_int("rope.dimension_count", config.head_dim, 0, config.head_dim));
  S3D_ASSIGN(config.rope.base, reader.optional_real("rope.freq_base", 10000.0f, 1, 1e12));
  if (config.rope.dims % 2 != 0) {
    return reader.error(fmt::format("rope.dimension_count is {}, expected an even number", config.rope.dims));
  }
  S3D_ASSIGN(const std::string type, reader.optional_string("rope.scaling.type", "linear"));
  if (type != "none" && type != "linear" && type != "longrope" && type != "yarn") {
    return reader.error(
        fmt::format("rope.scaling.type \"{}\" is not supported (none, linear, longrope and yarn are)", type));
  }
  S3D_ASSIGN(const float old_factor, reader.optional_real("rope.scale_linear", 0.0f, 0, 1e6));
  S3D_ASSIGN(const float factor, reader.optional_real("rope.scaling.factor", old_factor, 0, 1e6));
  config.rope.scale = type != "linear" || factor == 0 ? 1.0f : 1 / factor;
  if (type == "yarn" && factor != 0) return read_yarn(reader, factor, config);
  return Ok();
}

// The vocabulary's size is what the embedding table has; a metadata key may be missing or older than the table.
Status read_vocabulary(const ConfigReader& reader, ModelConfig& config) {
  S3D_ASSIGN(const Tensor* table, reader.file().tensor("token_embd.weight"));
  if (table->rows() < 1 || table->rows() > kMaxVocab || table->cols() != config.d_model) {
    return reader.error(
        fmt::format("tensor \"token_embd.weight\" has {} rows of {} values, expected 1 to {} rows of {}", table->rows(),
                    table->cols(), kMaxVocab, config.d_model));
  }
  config.vocab_size = static_cast<int>(table->rows());
  config.tied_head = reader.file().find_tensor("output.weight") == nullptr;
  return Ok();
}

Status refuse_experts(const ConfigReader& reader) {
  S3D_ASSIGN(const int experts, reader.optional_int("expert_count", 0, 0, std::numeric_limits<int>::max()));
  if (experts == 0) return Ok();
  return reader.error(fmt::format("a mixture of {} experts, which is not supported: use a dense model", experts));
}

Result<const Family*> read_family(const GgufFile& file) {
  S3D_ASSIGN(const auto architecture, file.string("general.architecture"));
  if (!architecture) return Error{file.path() + ": metadata key \"general.architecture\" is missing: not a model"};
  if (const Family* family = find_family(*architecture)) return family;
  return Error{fmt::format("{}: model family \"{}\" is not supported; known families: {}", file.path(), *architecture,
                           fmt::join(known_families(), ", "))};
}

}  // namespace

std::string ConfigReader::full_key(std::string_view key) const {
  return fmt::format("{}.{}", architecture_, key);
}

Error ConfigReader::error(const std::string& text) const {
  return Error{fmt::format("{}: {}", file_.path(), text)};
}

Result<int> ConfigReader::in_range(std::string_view key, int64_t value, int64_t min, int64_t max) const {
  if (value >= min && value <= max) return static_cast<int>(value);
  return error(fmt::format("metadata key \"{}\" is {}, expected {} to {}", full_key(key), value, min, max));
}

Result<int> ConfigReader::optional_int(std::string_view key, int fallback, int64_t min, int64_t max) const {
  S3D_ASSIGN(const auto value, file_.integer(full_key(key)));
  if (!value) return fallback;
  return in_range(key, *value, min, max);
}

Result<int> ConfigReader::required_int(std::string_view key, int64_t min, int64_t max) const {
  S3D_ASSIGN(const auto value, file_.integer(full_key(key)));
  if (!value) return error(fmt::format("metadata key \"{}\" is missing", full_key(key)));
  return optional_int(key, 0, min, max);
}

Result<std::vector<int64_t>> ConfigReader::array(std::string_view key) const {
  S3D_ASSIGN(auto values, file_.integers(full_key(key)));
  return std::move(values).value_or(std::vector<int64_t>());
}

Result<int> ConfigReader::optional_layer_int(std::string_view key, int layers, int fallback, int64_t min,
                                             int64_t max) const {
  if (!file_.is_array(full_key(key))) return optional_int(key, fallback, min, max);
  S3D_ASSIGN(const std::vector<int64_t> values, array(key));
  if (values.size() != usize(layers)) {
    return error(fmt::format("metadata key \"{}\" has {} values, expected one, or one for each of the {} layers",
                             full_key(key), values.size(), layers));
  }
  for (const int64_t value : values) {
    if (value != values.front()) {
      return error(
          fmt::format("metadata key \"{}\" is {} in one layer and {} in another: layers of different sizes are "
                      "not supported",
                      full_key(key), values.front(), value));
    }
  }
  return in_range(key, values.front(), min, max);
}

Result<int> ConfigReader::required_layer_int(std::string_view key, int layers, int64_t min, int64_t max) const {
  if (file_.is_array(full_key(key))) return optional_layer_int(key, layers, 0, min, max);
  return required_int(key, min, max);
}

Result<std::vector<bool>> ConfigReader::window_layers(std::string_view key, int layers, int period) const {
  std::vector<bool> out;
  if (!file_.is_array(full_key(key))) {
    S3D_ASSIGN(const int n, optional_int(key, period, 1, 1024));
    for (int layer = 0; layer < layers; ++layer) out.push_back(layer % n < n - 1);
    return out;
  }
  S3D_ASSIGN(const std::vector<int64_t> values, array(key));
  for (const int64_t value : values) out.push_back(value != 0);
  if (out.size() == usize(layers)) return out;
  return error(fmt::format("metadata key \"{}\" has {} values, expected one for each of the {} layers", full_key(key),
                           out.size(), layers));
}

Result<float> ConfigReader::optional_real(std::string_view key, float fallback, double min, double max) const {
  S3D_ASSIGN(const auto value, file_.real(full_key(key)));
  if (!value) return fallback;
  if (*value >= min && *value <= max) return static_cast<float>(*value);  // false for NaN
  return error(fmt::format("metadata key \"{}\" is {}, expected {} to {}", full_key(key), *value, min, max));
}

Result<float> ConfigReader::required_real(std::string_view key, double min, double max) const {
  S3D_ASSIGN(const auto value, file_.real(full_key(key)));
  if (!value) return error(fmt::format("metadata key \"{}\" is missing", full_key(key)));
  return optional_real(key, 0, min, max);
}

Result<std::string> ConfigReader::optional_string(std::string_view key, std::string fallback) const {
  S3D_ASSIGN(const auto value, file_.string(full_key(key)));
  return value.value_or(std::move(fallback));
}

Result<std::vector<float>> ConfigReader::factors(std::string_view tensor_name, int length) const {
  const Tensor* tensor = file_.find_tensor(tensor_name);
  if (tensor == nullptr) return std::vector<float>();
  S3D_ASSIGN(std::vector<float> values, read_vector(file_, *tensor, usize(length)));
  for (const float value : values) {
    if (!(value > 0) || !std::isfinite(value)) {
      return error(fmt::format("tensor \"{}\" holds {}, expected positive numbers", tensor_name, value));
    }
  }
  return values;
}

Status add_rope_freqs(const ConfigReader& reader, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  S3D_ASSIGN(std::vector<float> factors, reader.factors("rope_freqs.weight", rope.dims / 2));
  if (factors.empty()) return Ok();
  for (size_t i = 0; i < factors.size() && !rope.factors.empty(); ++i) factors[i] *= rope.factors[i];  // YaRN's
  rope.factors = std::move(factors);
  return Ok();
}

Result<ModelConfig> read_model_config(const GgufFile& file) {
  S3D_ASSIGN(const Family* family, read_family(file));
  ModelConfig config{};
  config.family = family->architecture;
  config.activation = Activation::kSilu;
  config.rope_style = RopeStyle::kSplitHalves;
  S3D_ASSIGN(const auto name, file.string("general.name"));
  config.name = name.value_or("");
  const ConfigReader reader(file, config.family);
  S3D_TRY(refuse_experts(reader));
  S3D_TRY(read_sizes(reader, config));
  S3D_TRY(read_head_size(reader, config));
  S3D_TRY(read_rope(reader, config));
  S3D_TRY(read_vocabulary(reader, config));
  constexpr int kUnset = -1;
  config.rope_local.dims = kUnset;
  S3D_TRY(family->configure(reader, config));
  // A family without a RoPE of its own for window layers uses the one for all layers, factors included.
  if (config.rope_local.dims == kUnset) config.rope_local = config.rope;
  return config;
}

}  // namespace s3d
