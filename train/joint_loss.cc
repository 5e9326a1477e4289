#include "train/joint_loss.h"

#include "base/check.h"
#include "train/base_score.h"

namespace s3d::train {
namespace {

// A full pass over one sequence, with its graph.
struct FullPass {
  Tensor hidden;                // [n, d_model]
  std::vector<LayerKv> layers;  // [n_layers]
};

FullPass full_pass(const BaseModel& base, const Sequence& sequence) {
  FullPass pass;
  pass.hidden = base_forward(base, token_tensor(base, sequence.tokens),
                             [&](int, const LayerKv& kv) { pass.layers.push_back(kv); });
  return pass;
}

// What RecordStore gives the batch of a frozen base. `pass` must outlive it.
void attach(const BaseModel& base, const FullPass& pass, const AdapterConfig& config, DraftBatch& batch) {
  batch.context_kv = [&, length = batch.context_length](int index) {
    const LayerKv& kv = pass.layers[static_cast<size_t>(config.layers.layer(index, base.config.n_layers))];
    return LayerKv{kv.keys.slice(0, 0, length).unsqueeze(0), kv.values.slice(0, 0, length).unsqueeze(0)};
  };
  if (config.state_rank == 0) return;
  // An anchor is in an answer, so there is a position before it.
  const Tensor before = pass.hidden.index_select(0, (batch.positions - 1).flatten());
  batch.state = rms_norm(before, {}, base.config.norm_eps).unsqueeze(0);
}

// The most probable tokens after each row. logits: [answer, vocab], of positions `first` and on.
RecordStore::SoftTargets soft_targets(const Tensor& logits, int64_t first, const TrainingBatch& batch, int count) {
  const torch::NoGradGuard no_grad;
  const auto [probabilities, tokens] = logits.softmax(-1).topk(count, -1);
  const Tensor row = torch::arange(batch.draft.rows, batch.draft.positions.options());
  // Rows beyond the end have no target; any position will do for them.
  const Tensor at = (batch.draft.positions.unsqueeze(2) + row - first).clamp_max(logits.size(0) - 1);
  const std::vector<int64_t> shape = {at.size(0), at.size(1), at.size(2), count};
  return {tokens.index_select(0, at.flatten()).view(shape), probabilities.index_select(0, at.flatten()).view(shape)};
}

}  // namespace

JointLoss joint_loss(const BaseModel& base, const DraftBlock& block, const DraftParams& params, const Dataset& data,
                     const AnchorGroup& group, int rows, const Recipe& recipe) {
  S3D_CHECK(recipe.joint.has_value(), "a recipe that is not joint");
  const Sequence& sequence = data.sequences[static_cast<size_t>(group.sequence)];
  TrainingBatch batch = make_rows(data, params.config, {group}, recipe.per_group, base.device, rows);
  const FullPass pass = full_pass(base, sequence);
  attach(base, pass, params.config, batch.draft);
  const Tensor logits = answer_logits(base, sequence, pass.hidden);
  std::optional<RecordStore::SoftTargets> soft;
  if (recipe.loss.soft_share > 0) {
    soft = soft_targets(logits, sequence.prompt_length - 1, batch, recipe.soft_tokens);
  }
  JointLoss out;
  out.draft = draft_loss(block, params, batch, soft, recipe.loss);
  const Tensor log_q = logits.log_softmax(-1);
  out.autoregressive = -log_q.gather(1, answer_tokens(base, sequence).unsqueeze(1)).mean();
  out.total = out.draft.loss + recipe.joint->ar_weight * out.draft.weight * out.autoregressive;
  return out;
}

}  // namespace s3d::train
