#include "train/adapter_task.h"

#include "base/atomic_file.h"
#include "train/loss.h"

namespace s3d::train {
namespace {

class AdapterTask : public Task {
 public:
  AdapterTask(const Recipe& recipe, const Group& group, const Inputs& in, DraftParams params, RecordStore records,
              const RecordStore& held_out_records)
      : recipe_(recipe),
        group_(group),
        in_(in),
        params_(std::move(params)),
        block_(in.base, params_.draft_ids),
        records_(std::move(records)),
        held_out_records_(held_out_records) {}

  std::vector<Trained> trained() const override { return trained_params(params_); }

  StepLoss add_gradients(const std::vector<AnchorGroup>& groups, int rows) override {
    const TrainingBatch batch =
        make_batch(in_.data, records_, params_.config, groups, recipe_.per_group, in_.base.device, rows);
    std::optional<RecordStore::SoftTargets> soft;
    if (recipe_.loss.soft_share > 0) soft = soft_targets(batch, rows);
    const LossSums sums = draft_loss(block_, params_, batch, soft, recipe_.loss);
    sums.loss.backward();
    return {sums.loss.item<double>(), sums.weight, 0};
  }

  Result<HeldOut> measure() override {
    return HeldOut{
        evaluate(block_, params_, in_.held_out, held_out_records_, in_.base.device, group_.rank(), group_.size()), {}};
  }

  Status store() override {
    S3D_ASSIGN(const std::vector<std::byte> image, params_image(params_, recipe_.type));
    return write_file_atomically(adapter_path(recipe_), image);
  }

 private:
  RecordStore::SoftTargets soft_targets(const TrainingBatch& batch, int rows) const {
    const Tensor at = batch.draft.positions.to(torch::kCPU).unsqueeze(2) + torch::arange(rows).view({1, 1, -1});
    // Rows beyond the end have no target; any position will do for them.
    std::vector<int64_t> last;
    for (const int s : batch.sequences) last.push_back(in_.data.sequences[static_cast<size_t>(s)].length() - 1);
    return records_.soft_targets(batch.sequences, torch::minimum(at, torch::tensor(last).view({-1, 1, 1})));
  }

  const Recipe& recipe_;
  const Group& group_;
  const Inputs& in_;
  DraftParams params_;
  DraftBlock block_;
  RecordStore records_;
  const RecordStore& held_out_records_;
};

}  // namespace

std::string adapter_path(const Recipe& recipe) {
  return recipe.out + "/adapter.gguf";
}

Result<std::unique_ptr<Task>> make_adapter_task(const Recipe& recipe, const Group& group, const Inputs& in,
                                                const RecordStore& held_out_records, DraftParams params) {
  S3D_ASSIGN(RecordStore records, RecordStore::build(in.base, in.data, record_store_options(recipe, "train")));
  return std::unique_ptr<Task>(
      std::make_unique<AdapterTask>(recipe, group, in, std::move(params), std::move(records), held_out_records));
}

}  // namespace s3d::train
