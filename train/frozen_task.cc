#include "train/frozen_task.h"

#include "base/atomic_file.h"

namespace s3d::train {
namespace {

class FrozenTask : public Task {
 public:
  FrozenTask(const Recipe& recipe, const Group& group, const Inputs& in, std::unique_ptr<TrainedDrafter> drafter,
             RecordStore records, const RecordStore& held_out_records)
      : recipe_(recipe),
        group_(group),
        in_(in),
        drafter_(std::move(drafter)),
        records_(std::move(records)),
        held_out_records_(held_out_records) {}

  std::vector<Trained> trained() const override { return trained_params(drafter_->tensors()); }

  StepLoss add_gradients(const std::vector<AnchorGroup>& groups, int rows) override {
    return drafter_->add_gradients(in_.data, records_, groups, rows);
  }

  Result<HeldOut> measure() override {
    return HeldOut{evaluate(*drafter_, in_.held_out, held_out_records_, group_.rank(), group_.size()), {}};
  }

  Status store(const TrainingCost& cost) override {
    S3D_ASSIGN(const std::vector<std::byte> image, drafter_->image(recipe_.type, cost));
    return write_file_atomically(drafter_path(recipe_), image);
  }

 private:
  const Recipe& recipe_;
  const Group& group_;
  const Inputs& in_;
  std::unique_ptr<TrainedDrafter> drafter_;
  RecordStore records_;
  const RecordStore& held_out_records_;
};

}  // namespace

Result<std::unique_ptr<Task>> make_frozen_task(const Recipe& recipe, const Group& group, const Inputs& in,
                                               const RecordStore& held_out_records,
                                               std::unique_ptr<TrainedDrafter> drafter) {
  S3D_ASSIGN(RecordStore records, RecordStore::build(in.base, in.data, record_store_options(recipe, "train")));
  return std::unique_ptr<Task>(
      std::make_unique<FrozenTask>(recipe, group, in, std::move(drafter), std::move(records), held_out_records));
}

}  // namespace s3d::train
