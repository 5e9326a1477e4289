// The trained tensors: made new, read from and written to adapter files.
#include "base/check.h"
#include "train/draft_block.h"

namespace s3d::train {
namespace {

namespace names = adapter_names;

// Sets the members that name tensors by use from the list of all tensors.
void bind(DraftParams& params, int n_layers) {
  const auto get = [&](std::string_view name) { return params.tensors.get(name); };
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

  void add(std::string_view name, const Tensor& value) { params_.tensors.add(name, value, base_.device); }
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

}  // namespace

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
  params.tensors.add_all(*file, base.device);
  bind(params, base.config.n_layers);
  return params;
}

Result<std::vector<std::byte>> params_image(const DraftParams& params, ggml_type type, const TrainingCost& cost) {
  return adapter_image(params.config, params.tensors.for_file(), params.draft_ids, type, {}, cost);
}

int copy_matching(const DraftParams& from, DraftParams& params) {
  // The rows of the Markov head's output belong to the draft vocabulary.
  const bool same_ids = from.draft_ids == params.draft_ids;
  return params.tensors.copy_matching(
      from.tensors, [same_ids](const std::string& name) { return same_ids || name != names::kMarkovW2; });
}

}  // namespace s3d::train
