#include "model/layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_set>

#include "kernels/packed_matrix.h"

namespace s3d {
namespace {

constexpr const char* kSupportedTypes = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K";

void add_attention_specs(const ModelConfig& config, const LayerLayout& layout, int layer,
                         std::vector<TensorSpec>& specs) {
  const auto matrix = [&](std::string_view name, int64_t rows, int64_t cols) {
    specs.push_back({layer_tensor(layer, name), rows, cols, /*matrix=*/true, /*optional=*/false});
  };
  const auto vector = [&](std::string_view name, int64_t length, bool optional) {
    specs.push_back({layer_tensor(layer, name), 1, length, /*matrix=*/false, optional});
  };
  const int64_t d = config.d_model;
  if (config.pre_norms) vector("attn_norm.weight", d, false);
  if (layout.fused_qkv) {
    matrix("attn_qkv.weight", config.q_dim() + 2 * config.kv_dim(), d);
  } else {
    matrix("attn_q.weight", config.q_dim(), d);
    matrix("attn_k.weight", config.kv_dim(), d);
    matrix("attn_v.weight", config.kv_dim(), d);
  }
  if (layout.qkv_bias == QkvBias::kOptional) {
    vector("attn_q.bias", config.q_dim(), true);
    vector("attn_k.bias", config.kv_dim(), true);
    vector("attn_v.bias", config.kv_dim(), true);
  }
  if (layout.qk_norm) {
    vector("attn_q_norm.weight", config.q_norm_size(), false);
    vector("attn_k_norm.weight", config.k_norm_size(), false);
  }
  matrix("attn_output.weight", d, config.q_dim());
  if (config.post_norms) vector("post_attention_norm.weight", d, false);
}

void add_feed_forward_specs(const ModelConfig& config, const LayerLayout& layout, int layer,
                            std::vector<TensorSpec>& specs) {
  const int64_t d = config.d_model;
  const int64_t ff = config.d_ff;
  if (config.pre_norms) specs.push_back({layer_tensor(layer, "ffn_norm.weight"), 1, d, false, false});
  if (!layout.fused_gate_up) specs.push_back({layer_tensor(layer, "ffn_gate.weight"), ff, d, true, false});
  specs.push_back({layer_tensor(layer, "ffn_up.weight"), layout.fused_gate_up ? 2 * ff : ff, d, true, false});
  specs.push_back({layer_tensor(layer, "ffn_down.weight"), d, ff, true, false});
  if (config.post_norms) specs.push_back({layer_tensor(layer, "post_ffw_norm.weight"), 1, d, false, false});
}

std::string shape_text(const TensorSpec& spec) {
  return spec.matrix ? fmt::format("[{}, {}]", spec.cols, spec.rows) : fmt::format("[{}]", spec.cols);
}

Status check_tensor(const GgufFile& file, const TensorSpec& spec) {
  const Tensor* tensor = file.find_tensor(spec.name);
  if (tensor == nullptr) {
    if (spec.optional) return Ok();
    return Error{fmt::format("{}: tensor \"{}\" of shape {} is missing: the file is not a complete model", file.path(),
                             spec.name, shape_text(spec))};
  }
  if (tensor->shape.size() > 2 || tensor->rows() != spec.rows || tensor->cols() != spec.cols) {
    return Error{fmt::format("{}: tensor \"{}\" has the shape [{}], expected {} from the metadata", file.path(),
                             spec.name, fmt::join(tensor->shape, ", "), shape_text(spec))};
  }
  const bool plain = tensor->type == GGML_TYPE_F32 || tensor->type == GGML_TYPE_F16 || tensor->type == GGML_TYPE_BF16;
  if (spec.matrix ? is_supported_weight(tensor->type) : plain) return Ok();
  return Error{fmt::format("{}: tensor \"{}\" has type {}, supported are {}: use another quantization of the model",
                           file.path(), spec.name, ggml_type_name(tensor->type),
                           spec.matrix ? kSupportedTypes : "F32, F16 and BF16 for vectors")};
}

// A tensor that nobody reads (a bias, an expert, a second head …) would change the answers if it were used.
Status refuse_unread(const GgufFile& file, const std::vector<TensorSpec>& specs, const Family& family) {
  std::unordered_set<std::string_view> known;
  for (const TensorSpec& spec : specs) known.insert(spec.name);
  for (const std::string_view name : family.extra_tensors) known.insert(name);
  for (const Tensor& tensor : file.tensors()) {
    if (known.contains(tensor.name)) continue;
    return Error{
        fmt::format("{}: tensor \"{}\" is not part of a \"{}\" model as supported here: this variant of the "
                    "family cannot be run",
                    file.path(), tensor.name, family.architecture)};
  }
  return Ok();
}

// A bias is optional, but not one of three.
Status check_biases(const GgufFile& file, const ModelConfig& config, const LayerLayout& layout) {
  if (layout.qkv_bias == QkvBias::kNone) return Ok();
  for (int layer = 0; layer < config.n_layers; ++layer) {
    const std::string names[] = {layer_tensor(layer, "attn_q.bias"), layer_tensor(layer, "attn_k.bias"),
                                 layer_tensor(layer, "attn_v.bias")};
    const auto there = std::count_if(std::begin(names), std::end(names),
                                     [&](const std::string& name) { return file.find_tensor(name) != nullptr; });
    if (there == 0 || there == 3) continue;
    return Error{fmt::format("{}: only {} of the tensors \"{}\" are there, expected all or none", file.path(), there,
                             fmt::join(names, "\", \""))};
  }
  return Ok();
}

}  // namespace

std::string layer_tensor(int layer, std::string_view name) {
  return fmt::format("blk.{}.{}", layer, name);
}

std::vector<TensorSpec> layer_specs(const ModelConfig& config, const LayerLayout& layout, int layer) {
  std::vector<TensorSpec> specs;
  add_attention_specs(config, layout, layer, specs);
  add_feed_forward_specs(config, layout, layer, specs);
  return specs;
}

std::vector<TensorSpec> model_specs(const ModelConfig& config, const Family& family) {
  std::vector<TensorSpec> specs;
  specs.push_back({"token_embd.weight", config.vocab_size, config.d_model, /*matrix=*/true, /*optional=*/false});
  for (int layer = 0; layer < config.n_layers; ++layer) {
    const auto more = layer_specs(config, family.layout, layer);
    specs.insert(specs.end(), more.begin(), more.end());
  }
  specs.push_back({"output_norm.weight", 1, config.d_model, /*matrix=*/false, /*optional=*/false});
  specs.push_back({"output.weight", config.vocab_size, config.d_model, /*matrix=*/true, /*optional=*/true});
  return specs;
}

Status check_tensors(const GgufFile& file, const ModelConfig& config, const Family& family) {
  const std::vector<TensorSpec> specs = model_specs(config, family);
  for (const TensorSpec& spec : specs) S3D_TRY(check_tensor(file, spec));
  S3D_TRY(refuse_unread(file, specs, family));
  return check_biases(file, config, family.layout);
}

}  // namespace s3d
