#include "train/base_model.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "base/check.h"
#include "model/fingerprint.h"
#include "model/tensor_floats.h"

namespace s3d::train {
namespace {

// Tensors of a file as floats.
class Loader {
 public:
  Loader(const GgufFile& file, torch::ScalarType dtype, torch::Device device)
      : file_(file), dtype_(dtype), device_(device) {}

  Result<Tensor> matrix(const std::string& name, int64_t rows, int64_t cols) const {
    S3D_ASSIGN(Tensor floats, read(name, rows, cols));
    return floats.to(device_, dtype_);
  }

  Result<Tensor> vector(const std::string& name, int64_t size) const {
    S3D_ASSIGN(Tensor floats, read(name, 1, size));
    return floats.view({size}).to(device_);
  }

  Result<Tensor> optional_vector(const std::string& name, int64_t size) const {
    if (file_.find_tensor(name) == nullptr) return Tensor();
    return vector(name, size);
  }

 private:
  Result<Tensor> read(const std::string& name, int64_t rows, int64_t cols) const {
    S3D_ASSIGN(const s3d::Tensor* tensor, file_.tensor(name));
    if (tensor->rows() != rows || tensor->cols() != cols) {
      return Error{fmt::format("{}: tensor \"{}\" is [{}, {}], expected [{}, {}] (rows, columns) by the metadata",
                               file_.path(), name, tensor->rows(), tensor->cols(), rows, cols)};
    }
    if (tensor->type != GGML_TYPE_F32 && ggml_get_type_traits(tensor->type)->to_float == nullptr) {
      return Error{fmt::format("{}: tensor \"{}\" has type {}, which cannot be turned into floats", file_.path(), name,
                               ggml_type_name(tensor->type))};
    }
    Tensor out = torch::empty({rows, cols});
    tensor_to_floats(*tensor, out.data_ptr<float>());
    file_.release_pages(*tensor);
    return out;
  }

  const GgufFile& file_;
  torch::ScalarType dtype_;
  torch::Device device_;
};

Result<BaseLayer> load_layer(const Loader& loader, const ModelConfig& config, int index) {
  const std::string blk = fmt::format("blk.{}.", index);
  BaseLayer layer;
  for (int t = 0; t < kLoraTargets; ++t) {
    const auto target = static_cast<LoraTarget>(t);
    const MatrixShape shape = lora_target_shape(config, target);
    S3D_ASSIGN(layer.matrices[static_cast<size_t>(t)],
               loader.matrix(matrix_name(index, target), shape.rows, shape.cols));
  }
  S3D_ASSIGN(layer.bq, loader.optional_vector(blk + "attn_q.bias", config.q_dim()));
  S3D_ASSIGN(layer.bk, loader.optional_vector(blk + "attn_k.bias", config.kv_dim()));
  S3D_ASSIGN(layer.bv, loader.optional_vector(blk + "attn_v.bias", config.kv_dim()));
  S3D_ASSIGN(layer.attn_norm, loader.vector(blk + "attn_norm.weight", config.d_model));
  S3D_ASSIGN(layer.ffn_norm, loader.vector(blk + "ffn_norm.weight", config.d_model));
  return layer;
}

// Tables of cos and sin for each position and dimension (both dimensions of a pair have the same angle). Angles are
// worked out in double precision: at position 10,000 a float's would be off in the third digit.
void make_rotation(BaseModel& base, int context) {
  const ModelConfig& config = base.config;
  const RopeConfig& rope = config.rope;
  const int half = rope.dims / 2;
  base.cosines = torch::ones({context, config.head_dim});
  base.sines = torch::zeros({context, config.head_dim});
  auto cosines = base.cosines.accessor<float, 2>();
  auto sines = base.sines.accessor<float, 2>();
  for (int i = 0; i < half; ++i) {
    const double factor = rope.factors.empty() ? 1 : rope.factors[static_cast<size_t>(i)];
    const double frequency = std::pow(double{rope.base}, -2.0 * i / rope.dims) * rope.scale / factor;
    const bool interleaved = config.rope_style == RopeStyle::kInterleaved;
    const int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
    for (int p = 0; p < context; ++p) {
      cosines[p][a] = cosines[p][b] = static_cast<float>(std::cos(p * frequency) * rope.magnitude);
      sines[p][a] = sines[p][b] = static_cast<float>(std::sin(p * frequency) * rope.magnitude);
    }
  }
  base.cosines = base.cosines.to(base.device);
  base.sines = base.sines.to(base.device);
}

// (a, b) -> (-b, a) for every pair; dimensions that are not rotated have sine 0, so theirs do not matter.
Tensor quarter_turn(const Tensor& x, const ModelConfig& config) {
  if (config.rope_style == RopeStyle::kInterleaved) {
    const Tensor pairs = x.unflatten(-1, {config.head_dim / 2, 2});
    return torch::stack({-pairs.select(-1, 1), pairs.select(-1, 0)}, -1).flatten(-2);
  }
  const int64_t dims = config.rope.dims, half = dims / 2;
  std::vector<Tensor> parts = {-x.slice(-1, half, dims), x.slice(-1, 0, half)};
  if (dims < config.head_dim) parts.push_back(x.slice(-1, dims));
  return torch::cat(parts, -1);
}

Tensor add_bias(const Tensor& x, const Tensor& bias) {
  return bias.defined() ? x + bias : x;
}

const Tensor& matrix(const BaseLayer& layer, LoraTarget target) {
  return layer.matrices[static_cast<size_t>(target)];
}

Status check_family(const GgufFile& file, const ModelConfig& config) {
  if (config.family == "llama" || config.family == "qwen2") return Ok();
  return Error{
      fmt::format("{}: the trainer knows the families llama and qwen2, not \"{}\"", file.path(), config.family)};
}

}  // namespace

size_t BaseModel::bytes() const {
  std::set<void*> seen;
  size_t total = 0;
  const auto add = [&](const Tensor& tensor) {
    if (tensor.defined() && seen.insert(tensor.data_ptr()).second) total += tensor.nbytes();
  };
  for (const BaseLayer& layer : layers) {
    for (const Tensor& tensor : layer.matrices) add(tensor);
  }
  add(embedding);
  add(lm_head);
  return total;
}

std::string matrix_name(int layer, LoraTarget target) {
  return fmt::format("blk.{}.{}.weight", layer, lora_target_name(target));
}

Result<BaseModel> load_base(const std::string& path, torch::ScalarType dtype, torch::Device device, int context) {
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  BaseModel base;
  base.file = std::make_shared<GgufFile>(std::move(opened));
  S3D_ASSIGN(base.config, read_model_config(*base.file));
  const ModelConfig& config = base.config;
  S3D_TRY(check_family(*base.file, config));
  if (context > config.context_length) {
    return Error{fmt::format("sequences of {} tokens do not fit the base's context of {}; use a smaller --max-length",
                             context, config.context_length)};
  }
  base.fingerprint = base_fingerprint(*base.file);
  base.device = device;
  const Loader loader(*base.file, dtype, device);
  for (int layer = 0; layer < config.n_layers; ++layer) {
    S3D_ASSIGN(BaseLayer loaded, load_layer(loader, config, layer));
    base.layers.push_back(std::move(loaded));
  }
  S3D_ASSIGN(base.embedding, loader.matrix("token_embd.weight", config.vocab_size, config.d_model));
  base.lm_head = base.embedding;
  if (!config.tied_head) {
    S3D_ASSIGN(base.lm_head, loader.matrix("output.weight", config.vocab_size, config.d_model));
  }
  S3D_ASSIGN(base.output_norm, loader.vector("output_norm.weight", config.d_model));
  make_rotation(base, context);
  return base;
}

Tensor project(const Tensor& x, const Tensor& w) {
  if (w.scalar_type() == torch::kFloat32) return torch::linear(x, w);
  return torch::linear(x.to(w.scalar_type()), w).to(torch::kFloat32);
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps) {
  const Tensor y = x * torch::rsqrt(x.square().mean(-1, /*keepdim=*/true) + eps);
  return weight.defined() ? y * weight : y;
}

Tensor rotate(const BaseModel& base, const Tensor& x, const Tensor& positions) {
  const Tensor cosines = base.cosines.index_select(0, positions).unsqueeze(1);
  const Tensor sines = base.sines.index_select(0, positions).unsqueeze(1);
  return x * cosines + quarter_turn(x, base.config) * sines;
}

Tensor embed(const BaseModel& base, const Tensor& tokens) {
  const Tensor rows = torch::embedding(base.embedding, tokens).to(torch::kFloat32);
  return base.config.embedding_scale == 1 ? rows : rows * base.config.embedding_scale;
}

Tensor causal_attention(const ModelConfig& config, const Tensor& q, const LayerKv& kv, const std::vector<LayerKv>& own,
                        int64_t sequences) {
  S3D_CHECK(own.empty() || sequences == 1, "rows of their own in several sequences");
  const int64_t m = q.size(0) / sequences, n = kv.keys.size(0) / sequences, e = config.head_dim;
  const int64_t per_kv = config.n_heads / config.n_kv_heads, heads = sequences * config.n_kv_heads;
  // One matrix for all queries of a sequence that share a key-value head: [heads, per_kv * m, head_dim].
  const Tensor queries =
      q.view({sequences, m, config.n_kv_heads, per_kv, e}).permute({0, 2, 3, 1, 4}).reshape({heads, per_kv, m, e}) *
      config.attention_scale;
  const auto by_head = [&](const Tensor& x) {  // [heads, n, head_dim]
    return x.view({sequences, n, config.n_kv_heads, e}).permute({0, 2, 1, 3}).reshape({heads, n, e});
  };
  const Tensor keys = by_head(kv.keys).transpose(1, 2), values = by_head(kv.values);
  const Tensor hidden = torch::ones({m, n}, torch::TensorOptions(torch::kBool).device(q.device())).triu(1 + n - m);
  const Tensor products = torch::bmm(queries.reshape({heads, per_kv * m, e}), keys);
  std::vector<Tensor> scores = {products.view({heads, per_kv, m, n}).masked_fill(hidden, -INFINITY)};
  const auto beside = [&](const Tensor& x) { return x.permute({1, 0, 2}).unsqueeze(1); };  // [kv_heads, 1, m, head_dim]
  for (const LayerKv& one : own) scores.push_back((queries * beside(one.keys)).sum(-1, /*keepdim=*/true));
  const Tensor weights = own.empty() ? scores[0].softmax(-1) : torch::cat(scores, -1).softmax(-1);
  Tensor out = torch::bmm(weights.slice(-1, 0, n).reshape({heads, per_kv * m, n}), values);
  out = out.view({heads, per_kv, m, e});
  for (size_t i = 0; i < own.size(); ++i) {
    const auto column = n + static_cast<int64_t>(i);
    out = out + weights.slice(-1, column, column + 1) * beside(own[i].values);
  }
  return out.view({sequences, config.n_kv_heads, per_kv, m, e})
      .permute({0, 3, 1, 2, 4})
      .reshape({sequences * m, config.q_dim()});
}

AttentionInput attention_input(const BaseModel& base, const BaseLayer& layer, const Tensor& x,
                               const Tensor& positions) {
  const ModelConfig& config = base.config;
  const Tensor h = rms_norm(x, layer.attn_norm, config.norm_eps);
  const auto heads = [&](LoraTarget target, const Tensor& bias, int count) {
    return add_bias(project(h, matrix(layer, target)), bias).view({x.size(0), count, config.head_dim});
  };
  return {rotate(base, heads(LoraTarget::kQ, layer.bq, config.n_heads), positions),
          {rotate(base, heads(LoraTarget::kK, layer.bk, config.n_kv_heads), positions),
           heads(LoraTarget::kV, layer.bv, config.n_kv_heads)}};
}

Tensor layer_output(const BaseModel& base, const BaseLayer& layer, const Tensor& x, const Tensor& attention) {
  const Tensor mixed = x + project(attention, matrix(layer, LoraTarget::kOutput));
  const Tensor f = rms_norm(mixed, layer.ffn_norm, base.config.norm_eps);
  const Tensor gated = torch::silu(project(f, matrix(layer, LoraTarget::kGate)));
  return mixed + project(gated * project(f, matrix(layer, LoraTarget::kUp)), matrix(layer, LoraTarget::kDown));
}

Tensor base_forward(const BaseModel& base, const Tensor& tokens,
                    const std::function<void(int layer, const LayerKv& kv)>& on_kv) {
  const ModelConfig& config = base.config;
  const int64_t n = tokens.size(-1), sequences = tokens.numel() / n;
  S3D_CHECK(n <= base.cosines.size(0), "a sequence longer than the rotation tables");
  const Tensor positions = torch::arange(n, torch::TensorOptions(torch::kLong).device(base.device)).repeat({sequences});
  Tensor x = embed(base, tokens.flatten());
  for (int i = 0; i < config.n_layers; ++i) {
    const BaseLayer& layer = base.layers[static_cast<size_t>(i)];
    const AttentionInput in = attention_input(base, layer, x, positions);
    if (on_kv) on_kv(i, in.kv);
    x = layer_output(base, layer, x, causal_attention(config, in.q, in.kv, {}, sequences));
  }
  return x;
}

Tensor token_tensor(const BaseModel& base, const std::vector<int32_t>& tokens) {
  return torch::tensor(std::vector<int64_t>(tokens.begin(), tokens.end())).to(base.device);
}

Tensor base_logits(const BaseModel& base, const Tensor& hidden) {
  return project(rms_norm(hidden, base.output_norm, base.config.norm_eps), base.lm_head);
}

}  // namespace s3d::train
