// The trained tensors: made new, read from and written to adapter files.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/check.h"
#include "model/tensor_floats.h"
#include "train/draft_block.h"
#include "train/keyed_random.h"

namespace s3d::train {
namespace {

namespace names = adapter_names;

// A matrix of independent normal values with the standard deviation 1 / sqrt(cols).
Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed, const std::string& name) {
  Tensor out = torch::empty({rows, cols});
  auto* values = out.data_ptr<float>();
  const uint64_t key = key_of(name);
  const float scale = 1 / std::sqrt(static_cast<float>(cols));
  for (int64_t i = 0; i < rows * cols; ++i) values[i] = scale * normal(keyed(seed, key, i));
  return out;
}

// Sets the members that name tensors by use from the list of all tensors.
void bind(DraftParams& params, int n_layers) {
  std::map<std::string, Tensor> by_name;
  for (const DraftParams::Named& named : params.tensors) by_name[named.name] = named.value;
  const auto get = [&](std::string_view name) {
    const auto found = by_name.find(std::string(name));
    return found == by_name.end() ? Tensor() : found->second;
  };
  const AdapterConfig& config = params.config;
  params.masks = get(names::kMasks);
  params.state_down = get(names::kStateDown);
  params.state_up = get(names::kStateUp);
  params.bridge_down = get(names::kBridgeDown);
  params.bridge_up = get(names::kBridgeUp);
  params.markov_p = get(names::kMarkovP);
  params.markov_w2 = get(names::kMarkovW2);
  params.confidence_w = get(names::kConfidenceW);
  params.confidence_b = get(names::kConfidenceB);
  params.lora.assign(static_cast<size_t>(config.layers.count()), {});
  for (int i = 0; i < config.layers.count(); ++i) {
    const int layer = config.layers.layer(i, n_layers);
    for (int t = 0; t < kLoraTargets; ++t) {
      const auto target = static_cast<LoraTarget>(t);
      params.lora[static_cast<size_t>(i)][static_cast<size_t>(t)] = {get(names::lora(layer, target, 'a')),
                                                                     get(names::lora(layer, target, 'b'))};
    }
  }
}

// Collects the tensors of a new adapter.
class Maker {
 public:
  Maker(const BaseModel& base, uint64_t seed, DraftParams& params) : base_(base), seed_(seed), params_(params) {}

  void add(std::string_view name, const Tensor& value) {
    params_.tensors.push_back({std::string(name), value.to(base_.device).set_requires_grad(true)});
  }
  void pair(const std::string& in_name, const std::string& out_name, int64_t rows, int64_t cols, int64_t rank) {
    if (rank == 0) return;
    add(in_name, random_matrix(rank, cols, seed_, in_name));
    add(out_name, torch::zeros({rows, rank}));
  }
  void pair(std::string_view in_name, std::string_view out_name, int64_t rows, int64_t cols, int64_t rank) {
    pair(std::string(in_name), std::string(out_name), rows, cols, rank);
  }

 private:
  const BaseModel& base_;
  uint64_t seed_;
  DraftParams& params_;
};

Tensor to_tensor(const s3d::Tensor& stored) {
  Tensor out = torch::empty({stored.rows(), stored.cols()});
  tensor_to_floats(stored, out.data_ptr<float>());
  return stored.shape.size() == 1 ? out.view({stored.cols()}) : out;
}

}  // namespace

const Tensor* DraftParams::find(const std::string& name) const {
  for (const Named& named : tensors) {
    if (named.name == name) return &named.value;
  }
  return nullptr;
}

int64_t DraftParams::count() const {
  int64_t total = 0;
  for (const Named& named : tensors) total += named.value.numel();
  return total;
}

DraftParams new_params(const BaseModel& base, AdapterConfig config, std::vector<int32_t> draft_ids, uint64_t seed) {
  const ModelConfig& model = base.config;
  config.base_fingerprint = base.fingerprint;
  config.base_name = model.name;
  config.draft_vocab = static_cast<int>(draft_ids.size());
  S3D_CHECK(config.layers.count() <= model.n_layers, "draft layers that were not checked");
  DraftParams params;
  params.config = config;
  params.draft_ids = std::move(draft_ids);
  Maker maker(base, seed, params);
  const int64_t d = model.d_model, drafted = config.draft_vocab > 0 ? config.draft_vocab : model.vocab_size;
  if (config.masks > 0) {
    const Tensor average = base.embedding.detach().to(torch::kFloat32).mean(0) * model.embedding_scale;
    maker.add(names::kMasks, average.repeat({config.masks, 1}));
  }
  for (int i = 0; i < config.layers.count(); ++i) {
    const int layer = config.layers.layer(i, model.n_layers);
    for (int t = 0; t < kLoraTargets; ++t) {
      const auto target = static_cast<LoraTarget>(t);
      const MatrixShape shape = lora_target_shape(model, target);
      maker.pair(names::lora(layer, target, 'a'), names::lora(layer, target, 'b'), shape.rows, shape.cols,
                 config.lora_rank);
    }
  }
  maker.pair(names::kStateDown, names::kStateUp, d, d, config.state_rank);
  maker.pair(names::kBridgeDown, names::kBridgeUp, d, d, config.bridge_rank);
  maker.pair(names::kMarkovP, names::kMarkovW2, drafted, d, config.markov_rank);
  if (config.confidence) {
    maker.add(names::kConfidenceW, torch::zeros({d + config.markov_rank}));
    maker.add(names::kConfidenceB, torch::zeros({1}));
  }
  bind(params, model.n_layers);
  return params;
}

Result<DraftParams> read_params(const BaseModel& base, const std::string& path) {
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  auto file = std::make_shared<GgufFile>(std::move(opened));
  S3D_ASSIGN(Adapter adapter, open_adapter(file, base.config, base.fingerprint));
  DraftParams params;
  params.config = adapter.config;
  params.draft_ids = adapter.draft_ids;
  for (const s3d::Tensor& stored : file->tensors()) {
    if (!is_trained(stored.name)) continue;
    params.tensors.push_back({stored.name, to_tensor(stored).to(base.device).set_requires_grad(true)});
  }
  bind(params, base.config.n_layers);
  return params;
}

Result<std::vector<std::byte>> params_image(const DraftParams& params, ggml_type type) {
  std::vector<AdapterTensor> tensors;
  for (const DraftParams::Named& named : params.tensors) {
    const Tensor value = named.value.detach().to(torch::kCPU, torch::kFloat32).contiguous();
    AdapterTensor out;
    out.name = named.name;
    out.shape.assign(value.sizes().rbegin(), value.sizes().rend());
    out.values.assign(value.data_ptr<float>(), value.data_ptr<float>() + value.numel());
    tensors.push_back(std::move(out));
  }
  return adapter_image(params.config, tensors, params.draft_ids, type);
}

int copy_matching(const DraftParams& from, DraftParams& params) {
  const torch::NoGradGuard no_grad;
  int copied = 0;
  for (DraftParams::Named& named : params.tensors) {
    const Tensor* source = from.find(named.name);
    if (source == nullptr || source->sizes() != named.value.sizes()) continue;
    if (named.name == names::kMarkovW2 && from.draft_ids != params.draft_ids) continue;  // other tokens' rows
    named.value.copy_(*source);
    ++copied;
  }
  return copied;
}

}  // namespace s3d::train
