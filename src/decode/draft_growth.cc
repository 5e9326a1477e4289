#include "decode/draft_growth.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "backend/packed_adapter.h"
#include "base/index.h"
#include "base/softmax.h"

namespace s3d {

DraftGrowth::DraftGrowth(Backend& backend, std::shared_ptr<const PackedAdapter> adapter)
    : backend_(backend), adapter_(std::move(adapter)) {}

// Less likely paths are further down the heap; of equal ones, those that came first win.
bool DraftGrowth::less_likely(const Candidate& a, const Candidate& b) {
  return a.path != b.path ? a.path < b.path : a.node.parent > b.node.parent;
}

Status DraftGrowth::grow(const DraftRows& rows, TokenId last, const DraftLimits& limits, DraftTree& tree) {
  tree.clear();
  heap_.clear();
  chain_previous_.clear();
  depths_ = std::min(rows.rows, limits.depth);
  width_ = limits.width;
  if (depths_ < 1) return Ok();
  S3D_TRY(add_children(rows, last, -1, 0, 1));
  while (!heap_.empty() && isize(tree) < limits.nodes) {
    std::pop_heap(heap_.begin(), heap_.end(), less_likely);
    const Candidate best = heap_.back();
    heap_.pop_back();
    tree.push_back(best.node);
    const bool more = best.depth + 1 < depths_ && isize(tree) < limits.nodes;
    if (more) S3D_TRY(add_children(rows, best.node.token, isize(tree) - 1, best.depth + 1, best.path));
  }
  return Ok();
}

// The row of `chain_` with the best tokens after `previous` at that depth. Where logits are far away, the depths below
// it are asked for at once.
Result<int> DraftGrowth::choose(const DraftRows& rows, TokenId previous, int depth) {
  const bool markov = !adapter_->markov_p().empty();
  const int at = depth - chain_begin_;
  if (at >= 0 && at < isize(chain_previous_) && (!markov || chain_previous_[usize(at)] == previous)) return at;
  const int count = rows.logits.empty() || !markov ? depths_ - depth : 1;
  const size_t n = adapter_->draft_size();
  LogitRows asked = {.logits = rows.logits, .first = rows.first_kept + depth, .rows = count};
  if (!rows.logits.empty()) asked.logits = rows.logits.subspan(usize(depth) * n, usize(count) * n);
  const int best = std::clamp(width_, 1, static_cast<int>(std::min<size_t>(n, ChoiceAsk::kMost)));
  S3D_TRY(backend_.choose_draft(*adapter_, asked, previous, {.best = best, .sums = true}, chain_));
  chain_begin_ = depth;
  chain_previous_.assign(1, previous);
  for (int i = 0; i + 1 < count; ++i) {
    const TokenId token = chain_.row(i)[0].token;
    chain_previous_.push_back(token >= 0 ? adapter_->draft_token(usize(token)) : -1);
  }
  return 0;
}

// The most likely tokens after `previous`, which stands at `parent`, become candidates of that depth.
Status DraftGrowth::add_children(const DraftRows& rows, TokenId previous, int parent, int depth, float path) {
  S3D_ASSIGN(const int choice, choose(rows, previous, depth));
  const std::span<const RankedToken> tokens = chain_.row(choice);
  const float largest = tokens[0].logit, sum = chain_.sums[usize(choice)];
  if (tokens[0].token < 0 || !std::isfinite(largest)) return Ok();
  const Chances chances = chances_of(rows, depth, choice, 1 / sum);
  for (const RankedToken& token : tokens) {
    if (token.token < 0) break;
    const bool best = &token == tokens.data();
    const float probability =
        best ? chances.best : chances.others * softmax::exp_nonpositive(token.logit - largest) / sum;
    heap_.push_back({{adapter_->draft_token(usize(token.token)), parent, probability}, depth, path * probability});
    std::push_heap(heap_.begin(), heap_.end(), less_likely);
  }
  return Ok();
}

// The softmax's own, or, where the adapter has a confidence head, its estimate; the others share what it leaves.
DraftGrowth::Chances DraftGrowth::chances_of(const DraftRows& rows, int depth, int choice, float best) const {
  if (!adapter_->config().confidence) return {best, 1};
  const size_t d = usize(backend_.config().d_model), rank = adapter_->markov_p().rows();
  const std::span<const float> z = std::span(chain_.z).subspan(usize(choice) * rank, rank);
  const float sure = adapter_->confidence(rows.hidden.subspan(usize(depth) * d, d), z);
  return {sure, best < 1 ? (1 - sure) / (1 - best) : 0};
}

}  // namespace s3d
