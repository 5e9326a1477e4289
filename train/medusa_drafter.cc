#include "train/medusa_drafter.h"

#include <optional>

#include "train/loss.h"
#include "train/medusa.h"

namespace s3d::train {
namespace {

class MedusaDrafter : public TrainedDrafter {
 public:
  MedusaDrafter(const Recipe& recipe, const BaseModel& base, MedusaParams params)
      : recipe_(recipe), base_(base), params_(std::move(params)), head_(base, params_.draft_ids) {}

  const NamedTensors& tensors() const override { return params_.tensors; }

  // An anchor's row k is head k.
  StepLoss add_gradients(const Dataset& data, const RecordStore& records, const std::vector<AnchorGroup>& groups,
                         int rows) override {
    const TrainingBatch batch = make_rows(data, {}, groups, recipe_.per_group, base_.device, rows);
    HeadTargets targets = {batch.targets, {}, recipe_.loss.soft_share};
    if (recipe_.loss.soft_share > 0) targets.soft = soft_targets(records, batch);
    const Tensor states = records.state(batch.sequences, batch.draft.positions).flatten(0, 1);
    const Tensor logits = medusa_logits(base_, params_, head_, states, rows);
    const Tensor weights =
        learnable(head_, batch.targets) * row_weights(recipe_.loss, recipe_.trained_rows(), rows).to(base_.device);
    const Tensor loss = (weights * token_loss(head_, logits, targets)).sum();
    loss.backward();
    return {loss.item<double>(), weights.sum().item<double>(), 0};
  }

  int chain() const override { return static_cast<int>(params_.heads.size()); }

  std::vector<std::vector<int32_t>> chains(const Dataset& data, const RecordStore& records,
                                           int sequence) const override {
    std::vector<int64_t> anchors;
    for (const int t : all_anchors(data.sequences[static_cast<size_t>(sequence)])) anchors.push_back(t);
    const Tensor states = records.state(std::vector<int>{sequence}, torch::tensor(anchors).unsqueeze(0))[0];
    std::vector<std::vector<int32_t>> out;
    append_chains(head_.best(medusa_logits(base_, params_, head_, states, chain())), out);
    return out;
  }

  Result<std::vector<std::byte>> image(ggml_type type, const TrainingCost& cost) const override {
    return medusa_image(base_, params_, type, cost);
  }

 private:
  const Recipe& recipe_;
  const BaseModel& base_;
  MedusaParams params_;
  DraftHead head_;
};

}  // namespace

Result<std::unique_ptr<TrainedDrafter>> first_medusa(const Recipe& recipe, const Inputs& in) {
  std::optional<MedusaParams> from;
  if (!recipe.init.empty()) {
    S3D_ASSIGN(from, read_medusa_params(in.base, recipe.init));
  }
  MedusaParams params = new_medusa(in.base, recipe.medusa->heads, recipe.medusa->head_rank,
                                   from ? from->draft_ids : first_draft_ids(recipe, in), recipe.seed);
  if (from) params.tensors.copy_matching(from->tensors);
  return std::unique_ptr<TrainedDrafter>(std::make_unique<MedusaDrafter>(recipe, in.base, std::move(params)));
}

Result<std::unique_ptr<TrainedDrafter>> read_medusa(const Recipe& recipe, const BaseModel& base,
                                                    const std::string& path) {
  S3D_ASSIGN(MedusaParams params, read_medusa_params(base, path));
  return std::unique_ptr<TrainedDrafter>(std::make_unique<MedusaDrafter>(recipe, base, std::move(params)));
}

}  // namespace s3d::train
