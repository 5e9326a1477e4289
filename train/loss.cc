#include "train/loss.h"

#include <algorithm>
#include <cmath>

#include "train/device_copy.h"

namespace s3d::train {
namespace {

// Binary cross entropy of the confidence head: will the greedy token be the target? Nothing but the head learns from
// it.
Tensor confidence_loss(const DraftBlock& block, const DraftParams& params, const Tensor& hidden, const Tensor& logits,
                       const TrainingBatch& batch) {
  const Tensor right = (block.head().best(logits.detach()) == batch.targets).to(torch::kFloat32);
  Tensor features = hidden.detach();
  if (params.markov_p.defined()) {
    features = torch::cat({features, block.markov_state(params, batch.previous).detach()}, -1);
  }
  const Tensor score = torch::matmul(features, params.confidence_w) + params.confidence_b;
  return torch::binary_cross_entropy_with_logits(score, right, {}, {}, at::Reduction::None);
}

}  // namespace

std::vector<double> depth_weights(const LossOptions& options, int rows) {
  const double decay = options.depth_decay > 0 ? options.depth_decay : std::max(1, rows - 1);
  std::vector<double> weights;
  for (int j = 0; j < rows; ++j) weights.push_back(std::exp(-j / decay));
  return weights;
}

Tensor row_weights(const LossOptions& options, int depth, int64_t rows) {
  std::vector<double> weights = depth_weights(options, depth);
  if (options.sample_rows) weights.assign(weights.size(), 1);
  weights.resize(static_cast<size_t>(rows));
  return torch::tensor(weights, torch::kFloat32);
}

LossSums draft_loss(const DraftBlock& block, const DraftParams& params, const TrainingBatch& batch,
                    const std::optional<RecordStore::SoftTargets>& soft, const LossOptions& options) {
  const Tensor weights =
      learnable(block.head(), batch.targets) *
      to_device(row_weights(options, params.config.depth(), batch.targets.size(1)), batch.targets.device());
  const auto weight = weights.sum().item<double>();  // here, where a GPU has little queued to be waited for
  const Tensor hidden = block.hidden(params, batch.draft);
  const Tensor logits = block.logits(params, hidden, batch.previous);
  Tensor entropy = token_loss(block.head(), logits, {batch.targets, soft, options.soft_share});
  if (params.confidence_w.defined()) entropy = entropy + confidence_loss(block, params, hidden, logits, batch);
  return {(weights * entropy).sum(), weight};
}

}  // namespace s3d::train
