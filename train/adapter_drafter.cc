#include "train/adapter_drafter.h"

#include "train/loss.h"

namespace s3d::train {
namespace {

class AdapterDrafter : public TrainedDrafter {
 public:
  AdapterDrafter(const Recipe& recipe, const BaseModel& base, DraftParams params)
      : recipe_(recipe), base_(base), params_(std::move(params)), block_(base, params_.draft_ids) {}

  const NamedTensors& tensors() const override { return params_.tensors; }

  StepLoss add_gradients(const Dataset& data, const RecordStore& records, const std::vector<AnchorGroup>& groups,
                         int rows) override {
    const TrainingBatch batch =
        make_batch(data, records, params_.config, groups, recipe_.per_group, base_.device, rows);
    std::optional<RecordStore::SoftTargets> soft;
    if (recipe_.loss.soft_share > 0) soft = soft_targets(records, batch);
    const LossSums sums = draft_loss(block_, params_, batch, soft, recipe_.loss);
    sums.loss.backward();
    return {sums.loss.item<double>(), sums.weight, 0};
  }

  int chain() const override { return params_.config.depth(); }
  std::vector<std::vector<int32_t>> chains(const Dataset& data, const RecordStore& records,
                                           int sequence) const override {
    return adapter_chains(block_, params_, data, records, base_.device, sequence);
  }

  Result<std::vector<std::byte>> image(ggml_type type, const TrainingCost& cost) const override {
    return params_image(params_, type, cost);
  }

 private:
  const Recipe& recipe_;
  const BaseModel& base_;
  DraftParams params_;
  DraftBlock block_;
};

}  // namespace

Result<std::unique_ptr<TrainedDrafter>> first_adapter(const Recipe& recipe, const Inputs& in) {
  S3D_ASSIGN(DraftParams params, first_params(recipe, in));
  return std::unique_ptr<TrainedDrafter>(std::make_unique<AdapterDrafter>(recipe, in.base, std::move(params)));
}

Result<std::unique_ptr<TrainedDrafter>> read_adapter(const Recipe& recipe, const BaseModel& base,
                                                     const std::string& path) {
  S3D_ASSIGN(DraftParams params, read_params(base, path));
  return std::unique_ptr<TrainedDrafter>(std::make_unique<AdapterDrafter>(recipe, base, std::move(params)));
}

}  // namespace s3d::train
