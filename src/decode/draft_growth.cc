#include "decode/draft_growth.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "backend/packed_adapter.h"
#include "base/index.h"
#include "decode/softmax.h"

namespace s3d {

DraftGrowth::DraftGrowth(Backend& backend, std::shared_ptr<const PackedAdapter> adapter)
    : backend_(backend), adapter_(std::move(adapter)) {}

// Less likely paths are further down the heap; of equal ones, those that came first win.
bool DraftGrowth::less_likely(const Candidate& a, const Candidate& b) {
  return a.path != b.path ? a.path < b.path : a.node.parent > b.node.parent;
}

void DraftGrowth::grow(const DraftRows& rows, TokenId last, const DraftLimits& limits, DraftTree& tree) {
  tree.clear();
  heap_.clear();
  const int depths = std::min(rows.rows, limits.depth);
  if (depths < 1) return;
  add_children(rows, last, -1, 0, 1, limits.width);
  while (!heap_.empty() && isize(tree) < limits.nodes) {
    std::pop_heap(heap_.begin(), heap_.end(), less_likely);
    const Candidate best = heap_.back();
    heap_.pop_back();
    tree.push_back(best.node);
    const bool more = best.depth + 1 < depths && isize(tree) < limits.nodes;
    if (more) add_children(rows, best.node.token, isize(tree) - 1, best.depth + 1, best.path, limits.width);
  }
}

// The `width` most likely tokens after `previous`, which stands at `parent`, become candidates of that depth.
void DraftGrowth::add_children(const DraftRows& rows, TokenId previous, int parent, int depth, float path, int width) {
  const size_t n = adapter_->draft_size();
  const auto row = rows.logits.subspan(usize(depth) * n, n);
  scored_.assign(row.begin(), row.end());
  z_.resize(adapter_->markov_p().rows());
  backend_.add_markov(*adapter_, {&previous, 1}, scored_, z_);
  const float largest = softmax::largest_of(scored_);
  if (!std::isfinite(largest)) return;
  const float sum = softmax::sum_of_exp(scored_, largest);
  const Chances chances = chances_of(rows, depth, 1 / sum);
  for (int i = 0; i < width; ++i) {
    const float top = i == 0 ? largest : softmax::largest_of(scored_);
    if (!(top > softmax::kMinusInfinity)) return;
    const auto at = std::find(scored_.begin(), scored_.end(), top) - scored_.begin();
    scored_[usize(at)] = softmax::kMinusInfinity;
    const float probability = i == 0 ? chances.best : chances.others * softmax::exp_nonpositive(top - largest) / sum;
    heap_.push_back({{adapter_->draft_token(usize(at)), parent, probability}, depth, path * probability});
    std::push_heap(heap_.begin(), heap_.end(), less_likely);
  }
}

// The softmax's own, or, where the adapter has a confidence head, its estimate; the others share what it leaves.
DraftGrowth::Chances DraftGrowth::chances_of(const DraftRows& rows, int depth, float best) const {
  if (!adapter_->config().confidence) return {best, 1};
  const size_t d = usize(backend_.config().d_model);
  const float sure = adapter_->confidence(rows.hidden.subspan(usize(depth) * d, d), z_);
  return {sure, best < 1 ? (1 - sure) / (1 - best) : 0};
}

}  // namespace s3d
