#include "train/loss.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace s3d::train {
namespace {

// -sum over k of p_k log q_k, of the k tokens that are in the draft vocabulary. log_q: [n, rows, drafted].
Tensor soft_cross_entropy(const DraftBlock& block, const Tensor& log_q, const RecordStore::SoftTargets& soft) {
  const Tensor index = block.draft_index().index_select(0, soft.tokens.flatten()).view(soft.tokens.sizes());
  const Tensor log_of = log_q.gather(-1, index.clamp_min(0).view({log_q.size(0), log_q.size(1), -1}));
  const Tensor p = (soft.probabilities * (index >= 0).to(torch::kFloat32)).view(log_of.sizes());
  return -(p * log_of).sum(-1);
}

// Binary cross entropy of the confidence head: will the greedy token be the target? Nothing but the head learns from
// it.
Tensor confidence_loss(const DraftBlock& block, const DraftParams& params, const Tensor& hidden, const Tensor& logits,
                       const TrainingBatch& batch, const Tensor& index) {
  const Tensor right = (logits.detach().argmax(-1) == index).to(torch::kFloat32);
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

LossSums draft_loss(const DraftBlock& block, const DraftParams& params, const TrainingBatch& batch,
                    const std::optional<RecordStore::SoftTargets>& soft, const LossOptions& options) {
  const Tensor targets = batch.targets;
  std::vector<double> by_depth = depth_weights(options, params.config.depth());
  if (options.sample_rows) by_depth.assign(by_depth.size(), 1);
  by_depth.resize(static_cast<size_t>(targets.size(1)));
  const Tensor index = block.draft_index().index_select(0, targets.clamp_min(0).flatten()).view(targets.sizes());
  const Tensor valid = ((targets >= 0) & (index >= 0)).to(torch::kFloat32);
  const Tensor weights = valid * torch::tensor(by_depth, torch::kFloat32).to(targets.device());

  const Tensor hidden = block.hidden(params, batch.draft);
  const Tensor logits = block.logits(params, hidden, batch.previous);
  const Tensor log_q = logits.log_softmax(-1);
  Tensor entropy = -log_q.gather(-1, index.clamp_min(0).unsqueeze(-1)).squeeze(-1);
  if (options.soft_share > 0) {
    S3D_CHECK(soft.has_value(), "soft targets are wanted and not there");
    entropy = (1 - options.soft_share) * entropy + options.soft_share * soft_cross_entropy(block, log_q, *soft);
  }
  if (params.confidence_w.defined()) {
    entropy = entropy + confidence_loss(block, params, hidden, logits, batch, index);
  }
  return {(weights * entropy).sum(), weights.sum().item<double>()};
}

}  // namespace s3d::train
