#include "train/eagle.h"

#include <fmt/format.h>

#include <array>

#include "model/drafter_file.h"

namespace s3d::train {
namespace {

constexpr const char* kBlock = "blk.0.";

// The optional and other vectors of a layer, by their names in the file.
template <typename Layer>
auto vectors_of(Layer& layer) {
  return std::array{std::pair{"attn_q.bias", &layer.bq}, std::pair{"attn_k.bias", &layer.bk},
                    std::pair{"attn_v.bias", &layer.bv}, std::pair{"attn_norm.weight", &layer.attn_norm},
                    std::pair{"ffn_norm.weight", &layer.ffn_norm}};
}

// Sets the members that name tensors by use.
void bind(EagleParams& params) {
  params.fc = params.tensors.get(draft_file_names::kEagleFc);
  for (int t = 0; t < kLoraTargets; ++t) {
    params.layer.matrices[static_cast<size_t>(t)] = params.tensors.get(matrix_name(0, static_cast<LoraTarget>(t)));
  }
  for (const auto& [name, vector] : vectors_of(params.layer)) {
    *vector = params.tensors.get(std::string(kBlock) + name);
  }
}

// With matrices of another type.
BaseLayer in_type(BaseLayer layer, torch::ScalarType type) {
  for (Tensor& matrix : layer.matrices) matrix = matrix.to(type);
  return layer;
}

LayerKv first_rows(const LayerKv& kv, int64_t count) {
  return {kv.keys.slice(0, 0, count), kv.values.slice(0, 0, count)};
}

// The layer at work on one text.
class Runner {
 public:
  Runner(const BaseModel& base, const EagleParams& params)
      : base_(base),
        layer_(in_type(params.layer, base.lm_head.scalar_type())),
        fc_(params.fc.to(base.lm_head.scalar_type())) {}

  // Output of rows that stand at `from` and on, and their keys and values. `attend`: (queries, own keys and values) to
  // what the rows see.
  template <typename Attend>
  std::pair<Tensor, LayerKv> rows(const Tensor& tokens, const Tensor& features, int64_t from, Attend attend) const {
    const Tensor embedding = rms_norm(embed(base_, tokens), {}, base_.config.norm_eps);
    const Tensor x = project(torch::cat({embedding, features}, -1), fc_);
    const Tensor positions = torch::arange(from, from + tokens.size(0), tokens.options());
    const AttentionInput in = attention_input(base_, layer_, x, positions);
    return {layer_output(base_, layer_, x, attend(in.q, in.kv)), in.kv};
  }

 private:
  const BaseModel& base_;
  BaseLayer layer_;
  Tensor fc_;
};

}  // namespace

EagleParams new_eagle(const BaseModel& base, std::vector<int32_t> draft_ids) {
  const int64_t d = base.config.d_model;
  EagleParams params;
  params.draft_ids = std::move(draft_ids);
  const auto add = [&](const std::string& name, const Tensor& value) {
    params.tensors.add(name, value.detach().to(torch::kFloat32).clone(), base.device);
  };
  add(std::string(draft_file_names::kEagleFc), torch::cat({torch::zeros({d, d}), torch::eye(d)}, 1));
  const BaseLayer& last = base.layers.back();
  for (int t = 0; t < kLoraTargets; ++t) {
    const auto target = static_cast<LoraTarget>(t);
    const bool writes = target == LoraTarget::kOutput || target == LoraTarget::kDown;
    const Tensor matrix = last.matrices[static_cast<size_t>(t)].to(torch::kFloat32);
    add(matrix_name(0, target), writes ? torch::zeros_like(matrix) : matrix);
  }
  for (const auto& [name, vector] : vectors_of(last)) {
    if (vector->defined()) add(std::string(kBlock) + name, *vector);
  }
  bind(params);
  return params;
}

Result<EagleParams> read_eagle_params(const BaseModel& base, const std::string& path) {
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  S3D_ASSIGN(const EagleFile eagle,
             open_eagle(std::make_shared<GgufFile>(std::move(opened)), base.config, base.fingerprint));
  if (!eagle.taps.empty()) {
    return Error{fmt::format("{}: the layer has taps ({}), which the trainer does not know; take one without", path,
                             draft_file_names::kEagleTaps)};
  }
  EagleParams params;
  params.draft_ids = eagle.draft_ids;
  params.tensors.add_all(*eagle.file, base.device);
  bind(params);
  return params;
}

Result<std::vector<std::byte>> eagle_image(const BaseModel& base, const EagleParams& params, ggml_type type,
                                           const TrainingCost& cost) {
  const DrafterHeader header = {std::string(draft_file_names::kEagle), base.fingerprint, base.config.name};
  return drafter_image({.header = header, .cost = cost}, params.tensors.for_file(), params.draft_ids, type);
}

void run_eagle(const BaseModel& base, const EagleParams& params, const EagleText& text, int steps,
               const EagleStep& on_step) {
  const ModelConfig& config = base.config;
  const Runner runner(base, params);
  const int64_t n = text.tokens.size(0), first = text.first;
  const auto in_text = [&](const Tensor& q, const LayerKv& kv) { return causal_attention(config, q, kv); };
  const auto [outputs, seen] = runner.rows(text.tokens, text.features, 0, in_text);
  Tensor y = outputs.slice(0, first);
  std::vector<LayerKv> own;  // of the chains, by depth
  for (int step = 0;; ++step) {
    const int64_t chains = n - first - step - 1;  // that have one depth more
    const Tensor tokens = on_step(step, y);
    if (step + 1 == steps || chains <= 0 || !tokens.defined()) return;
    const auto attend = [&, &text_kv = seen](const Tensor& q, const LayerKv& kv) {
      for (LayerKv& depth : own) depth = first_rows(depth, chains);
      own.push_back(kv);
      return causal_attention(config, q, first_rows(text_kv, first + chains), own);
    };
    const Tensor features = rms_norm(y.slice(0, 0, chains), {}, config.norm_eps);
    y = runner.rows(tokens, features, first + step + 1, attend).first;
  }
}

}  // namespace s3d::train
