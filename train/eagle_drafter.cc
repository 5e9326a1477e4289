#include "train/eagle_drafter.h"

#include "train/draft_head.h"
#include "train/eagle.h"
#include "train/loss.h"

namespace s3d::train {
namespace {

// Positions first … last - 1 as an index, in the shape that the record store takes for one sequence.
Tensor positions(int64_t first, int64_t last) {
  return torch::arange(first, last).unsqueeze(0);
}

class EagleDrafter : public TrainedDrafter {
 public:
  EagleDrafter(const Recipe& recipe, const BaseModel& base, EagleParams params)
      : recipe_(recipe), base_(base), params_(std::move(params)), head_(base, params_.draft_ids) {}

  const NamedTensors& tensors() const override { return params_.tensors; }

  // One text after another: its positions are enough rows for a matrix product.
  StepLoss add_gradients(const Dataset& data, const RecordStore& records, const std::vector<AnchorGroup>& groups,
                         int rows) override {
    StepLoss sums;
    for (const AnchorGroup& group : groups) {
      const LossSums loss = text_loss(data.sequences[static_cast<size_t>(group.sequence)], records, group, rows);
      if (loss.weight > 0) loss.loss.backward();
      sums.loss += loss.loss.item<double>();
      sums.weight += loss.weight;
    }
    return sums;
  }

  int chain() const override { return EagleOptions::kMeasuredChain; }

  std::vector<std::vector<int32_t>> chains(const Dataset& data, const RecordStore& records,
                                           int sequence) const override {
    const Sequence& text = data.sequences[static_cast<size_t>(sequence)];
    const EagleText rows = text_of(text, states_of(text, records, sequence));
    const Tensor tokens = torch::full({rows.tokens.size(0) - rows.first, chain()}, -1, rows.tokens.options());
    run_eagle(base_, params_, rows, chain(), [&](int step, const Tensor& hidden) {
      const Tensor best = head_.best(logits(hidden));
      tokens.slice(0, 0, best.size(0)).select(1, step).copy_(best);
      return best.slice(0, 0, best.size(0) - 1);
    });
    std::vector<std::vector<int32_t>> out;
    append_chains(tokens, out);
    return out;
  }

  Result<std::vector<std::byte>> image(ggml_type type, const TrainingCost& cost) const override {
    return eagle_image(base_, params_, type, cost);
  }

 private:
  Tensor logits(const Tensor& hidden) const {
    return head_.logits(rms_norm(hidden, base_.output_norm, base_.config.norm_eps));
  }

  // rms(h) of the positions 0 … length - 2: [length - 1, d_model].
  static Tensor states_of(const Sequence& text, const RecordStore& records, int sequence) {
    return records.state(std::vector<int>{sequence}, positions(1, text.length()))[0];  // it gives those before
  }

  // Rows from position 1 to the last anchor, length - 2. The first chain begins at the answer's first token, whose row
  // is prompt_length - 1.
  EagleText text_of(const Sequence& text, const Tensor& states) const {
    const Tensor tokens = token_tensor(base_, text.tokens);
    return {tokens.slice(0, 1, -1), states.slice(0, 0, -1), text.prompt_length - 1};
  }

  LossSums text_loss(const Sequence& text, const RecordStore& records, const AnchorGroup& group, int rows) const {
    const Tensor states = states_of(text, records, group.sequence);
    const EagleText in = text_of(text, states);
    const Tensor weights = row_weights(recipe_.loss, recipe_.trained_rows(), rows);
    LossSums sums = {torch::zeros({}, states.options()), 0};
    run_eagle(base_, params_, in, rows, [&](int step, const Tensor& hidden) {
      std::vector<int64_t> chains, ends;  // of the anchors that have a token to guess so deep; where that token is
      for (const int t : group.positions) {
        if (t + 1 + step >= text.length()) continue;
        chains.push_back(t - text.prompt_length);
        ends.push_back(t + 1 + step);
      }
      if (!chains.empty()) {
        add_step(text, records, group.sequence, states, hidden.index_select(0, torch::tensor(chains).to(base_.device)),
                 torch::tensor(ends), weights[step].item<double>(), sums);
      }
      return in.tokens.slice(0, in.first + step + 1);
    });
    return sums;
  }

  // hidden: [m, d_model], whose rows guess the tokens at the positions `ends` [m].
  void add_step(const Sequence& text, const RecordStore& records, int sequence, const Tensor& states,
                const Tensor& hidden, const Tensor& ends, double weight, LossSums& sums) const {
    const Tensor at = ends.to(base_.device);
    HeadTargets targets = {token_tensor(base_, text.tokens).index_select(0, at), {}, recipe_.loss.soft_share};
    if (recipe_.loss.soft_share > 0) {
      targets.soft = records.soft_targets(std::vector<int>{sequence}, (ends - 1).view({1, -1, 1}));
    }
    Tensor loss = token_loss(head_, logits(hidden), targets);
    if (recipe_.eagle->feature_weight > 0) {
      const Tensor own = rms_norm(hidden, {}, base_.config.norm_eps), wanted = states.index_select(0, at - 1);
      const Tensor distance = torch::smooth_l1_loss(own, wanted, at::Reduction::None).mean(-1);
      loss = loss + recipe_.eagle->feature_weight * distance;
    }
    const Tensor weights = learnable(head_, targets.tokens) * weight;
    sums.loss = sums.loss + (weights * loss).sum();
    sums.weight += weights.sum().item<double>();
  }

  const Recipe& recipe_;
  const BaseModel& base_;
  EagleParams params_;
  DraftHead head_;
};

}  // namespace

Result<std::unique_ptr<TrainedDrafter>> first_eagle(const Recipe& recipe, const Inputs& in) {
  if (!recipe.init.empty()) return read_eagle(recipe, in.base, recipe.init);
  return std::unique_ptr<TrainedDrafter>(
      std::make_unique<EagleDrafter>(recipe, in.base, new_eagle(in.base, first_draft_ids(recipe, in))));
}

Result<std::unique_ptr<TrainedDrafter>> read_eagle(const Recipe& recipe, const BaseModel& base,
                                                   const std::string& path) {
  S3D_ASSIGN(EagleParams params, read_eagle_params(base, path));
  return std::unique_ptr<TrainedDrafter>(std::make_unique<EagleDrafter>(recipe, base, std::move(params)));
}

}  // namespace s3d::train
