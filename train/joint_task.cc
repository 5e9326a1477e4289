#include "train/joint_task.h"

#include "base/atomic_file.h"
#include "model/fingerprint.h"
#include "train/joint_loss.h"
#include "train/trained_layers.h"

namespace s3d::train {
namespace {

class JointTask : public Task {
 public:
  JointTask(const Recipe& recipe, const Group& group, const Inputs& in, DraftParams params, TrainedLayers layers)
      : recipe_(recipe),
        in_(in),
        params_(std::move(params)),
        layers_(std::move(layers)),
        block_(in.base, params_.draft_ids),
        held_out_(share_of(in.held_out, group.rank(), group.size())) {}

  std::vector<Trained> trained() const override {
    std::vector<Trained> out = trained_params(params_.tensors);
    const double rate = recipe_.joint->layer_rate / recipe_.learning_rate;
    for (const Tensor& master : layers_.masters()) out.push_back({master, rate});
    return out;
  }

  void values_changed() override { layers_.round(); }

  StepLoss add_gradients(const std::vector<AnchorGroup>& groups, int rows) override {
    layers_.share_gradients();
    StepLoss sums;
    // One sequence after another: a full pass with its graph is what takes the memory.
    for (const AnchorGroup& group : groups) {
      const JointLoss loss = joint_loss(in_.base, block_, params_, in_.data, group, rows, recipe_);
      loss.total.backward();
      sums.loss += loss.total.item<double>();
      sums.weight += loss.draft.weight;
      sums.autoregressive += loss.total.item<double>() - loss.draft.loss.item<double>();
    }
    return sums;
  }

  Result<HeldOut> measure() override { return evaluate_pair(in_.base, block_, params_, held_out_); }

  Status store(const TrainingCost& cost) override {
    S3D_TRY(layers_.write(joint_base_path(recipe_)));
    S3D_ASSIGN(const GgufFile written, GgufFile::open(joint_base_path(recipe_)));
    params_.config.base_fingerprint = base_fingerprint(written);
    S3D_ASSIGN(const std::vector<std::byte> image, params_image(params_, recipe_.type, cost));
    return write_file_atomically(joint_adapter_path(recipe_), image);
  }

 private:
  const Recipe& recipe_;
  const Inputs& in_;
  DraftParams params_;
  TrainedLayers layers_;
  DraftBlock block_;
  Dataset held_out_;
};

}  // namespace

std::string joint_base_path(const Recipe& recipe) {
  return recipe.out + "/base.gguf";
}

std::string joint_adapter_path(const Recipe& recipe) {
  return recipe.out + "/base.adapter.gguf";
}

Result<std::unique_ptr<Task>> make_joint_task(const Recipe& recipe, const Group& group, Inputs& in,
                                              DraftParams params) {
  S3D_ASSIGN(TrainedLayers layers, TrainedLayers::create(in.base, params.config));
  return std::unique_ptr<Task>(std::make_unique<JointTask>(recipe, group, in, std::move(params), std::move(layers)));
}

}  // namespace s3d::train
