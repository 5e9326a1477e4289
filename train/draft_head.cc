#include "train/draft_head.h"

#include "base/check.h"

namespace s3d::train {
namespace {

// -sum over k of p_k log q_k, of the k tokens that are in the draft vocabulary. log_q: [..., drafted].
Tensor soft_cross_entropy(const DraftHead& head, const Tensor& log_q, const RecordStore::SoftTargets& soft) {
  std::vector<int64_t> shape(log_q.sizes().begin(), log_q.sizes().end());
  shape.back() = -1;
  const Tensor index = head.rows_of(soft.tokens).view(shape);
  const Tensor log_of = log_q.gather(-1, index.clamp_min(0));
  const Tensor p = soft.probabilities.view(log_of.sizes()) * (index >= 0).to(torch::kFloat32);
  return -(p * log_of).sum(-1);
}

}  // namespace

DraftHead::DraftHead(const BaseModel& base, const std::vector<int32_t>& draft_ids) : lm_head_(base.lm_head) {
  const int64_t vocab = base.config.vocab_size;
  if (draft_ids.empty()) {
    draft_index_ = torch::arange(vocab, torch::TensorOptions(torch::kLong).device(base.device));
    return;
  }
  draft_ids_ = torch::tensor(std::vector<int64_t>(draft_ids.begin(), draft_ids.end())).to(base.device);
  lm_head_ = base.lm_head.detach().index_select(0, draft_ids_);
  draft_index_ = torch::full({vocab}, -1, torch::TensorOptions(torch::kLong).device(base.device));
  draft_index_.index_put_({draft_ids_}, torch::arange(draft_ids_.size(0), draft_index_.options()));
}

Tensor DraftHead::best(const Tensor& logits) const {
  const Tensor rows = logits.argmax(-1);
  if (!draft_ids_.defined()) return rows;
  return draft_ids_.index_select(0, rows.flatten()).view(rows.sizes());
}

Tensor DraftHead::rows_of(const Tensor& tokens) const {
  return draft_index_.index_select(0, tokens.flatten()).view(tokens.sizes());
}

Tensor token_loss(const DraftHead& head, const Tensor& logits, const HeadTargets& targets) {
  const Tensor log_q = logits.log_softmax(-1);
  const Tensor index = head.rows_of(targets.tokens.clamp_min(0)).clamp_min(0);
  const Tensor entropy = -log_q.gather(-1, index.unsqueeze(-1)).squeeze(-1);
  if (targets.soft_share == 0) return entropy;
  S3D_CHECK(targets.soft.has_value(), "soft targets are wanted and not there");
  return (1 - targets.soft_share) * entropy + targets.soft_share * soft_cross_entropy(head, log_q, *targets.soft);
}

Tensor learnable(const DraftHead& head, const Tensor& tokens) {
  return ((tokens >= 0) & (head.rows_of(tokens.clamp_min(0)) >= 0)).to(torch::kFloat32);
}

}  // namespace s3d::train
