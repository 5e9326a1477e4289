#include "train/medusa.h"

#include "model/drafter_file.h"

namespace s3d::train {
namespace {

void bind(MedusaParams& params, int heads) {
  for (int k = 0; k < heads; ++k) {
    const auto get = [&](const char* part) { return params.tensors.get(draft_file_names::medusa(k, part)); };
    params.heads.push_back({get("weight"), get("bias"), get("head_a"), get("head_b")});
  }
}

}  // namespace

MedusaParams new_medusa(const BaseModel& base, int heads, int rank, std::vector<int32_t> draft_ids, uint64_t seed) {
  const int64_t d = base.config.d_model;
  const int64_t drafted = draft_ids.empty() ? base.config.vocab_size : static_cast<int64_t>(draft_ids.size());
  MedusaParams params;
  params.draft_ids = std::move(draft_ids);
  for (int k = 0; k < heads; ++k) {
    const auto add = [&](const char* part, const Tensor& value) {
      params.tensors.add(draft_file_names::medusa(k, part), value, base.device);
    };
    add("weight", torch::zeros({d, d}));
    add("bias", torch::zeros({d}));
    if (rank == 0) continue;
    add("head_a", random_matrix(rank, d, seed, draft_file_names::medusa(k, "head_a")));
    add("head_b", torch::zeros({drafted, rank}));
  }
  bind(params, heads);
  return params;
}

Result<MedusaParams> read_medusa_params(const BaseModel& base, const std::string& path) {
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  S3D_ASSIGN(const MedusaFile medusa,
             open_medusa(std::make_shared<GgufFile>(std::move(opened)), base.config, base.fingerprint));
  MedusaParams params;
  params.draft_ids = medusa.draft_ids;
  params.tensors.add_all(*medusa.file, base.device);
  bind(params, static_cast<int>(medusa.heads.size()));
  return params;
}

Result<std::vector<std::byte>> medusa_image(const BaseModel& base, const MedusaParams& params, ggml_type type,
                                            const TrainingCost& cost) {
  const DrafterHeader header = {std::string(draft_file_names::kMedusa), base.fingerprint, base.config.name};
  return drafter_image({.header = header, .heads = static_cast<int>(params.heads.size()), .cost = cost},
                       params.tensors.for_file(), params.draft_ids, type);
}

Tensor medusa_logits(const BaseModel& base, const MedusaParams& params, const DraftHead& head, const Tensor& states,
                     int heads) {
  const torch::ScalarType type = base.lm_head.scalar_type();
  const Tensor normed = states * base.output_norm;
  std::vector<Tensor> outputs, terms;
  for (int k = 0; k < heads; ++k) {
    const MedusaParams::Head& own = params.heads[static_cast<size_t>(k)];
    outputs.push_back(normed + torch::silu(project(normed, own.weight.to(type)) + own.bias));
    if (own.down.defined()) terms.push_back(torch::linear(torch::linear(outputs.back(), own.down), own.up));
  }
  const Tensor logits = head.logits(torch::stack(outputs, 1));  // one product for all heads
  return terms.empty() ? logits : logits + torch::stack(terms, 1);
}

}  // namespace s3d::train
