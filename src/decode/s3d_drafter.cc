// S3D: the kept layers propose several tokens at once from mask tokens (docs/adapter.md has the formulas).
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/packed_adapter.h"
#include "base/check.h"
#include "base/index.h"
#include "decode/drafters.h"
#include "decode/softmax.h"

namespace s3d {
namespace {

// A token that may be added to the tree.
struct Candidate {
  DraftNode node;
  int depth;   // 0 for a child of the root
  float path;  // product of the probabilities from the root on
};

// Less likely paths are further down the heap; of equal ones, those that came first win.
bool less_likely(const Candidate& a, const Candidate& b) {
  return a.path != b.path ? a.path < b.path : a.node.parent > b.node.parent;
}

class S3dDrafter : public Drafter {
 public:
  S3dDrafter(Backend& backend, KvCache& kv, std::shared_ptr<const PackedAdapter> adapter, std::string_view name)
      : backend_(backend), kv_(kv), adapter_(std::move(adapter)), name_(name) {}

  std::string_view name() const override { return name_; }
  int max_depth() const override { return adapter_->config().depth(); }
  bool needs_pass() const override { return true; }
  bool needs_state() const override { return adapter_->config().state_rank > 0; }
  size_t extra_bytes() const override { return adapter_->bytes(); }

  bool shares_pass() const override { return true; }

  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    DraftPass pass;
    ask(input, limits, pass);
    const std::vector<Want> want(pass.rows.size(), Want::kLogits);
    const std::vector<const float*> states(pass.rows.size(), pass.state);
    S3D_ASSIGN(const PassOutput out, backend_.run({.rows = pass.rows,
                                                   .layers = pass.layers,
                                                   .adapter = pass.adapter,
                                                   .state = states,
                                                   .kv = KvUse::kScratch,
                                                   .want = want,
                                                   .want_hidden = pass.want_hidden},
                                                  kv_));
    take(input, limits, out, tree);
    return Ok();
  }

  // The last token's row and masks after it, as many as a path may be long.
  void ask(const DraftInput& input, const DraftLimits& limits, DraftPass& pass) override {
    const int position = kv_.length(input.seq);
    pass.rows.clear();
    for (int j = 0; j < rows_of(limits); ++j) {
      pass.rows.push_back(
          {.token = j == 0 ? input.tokens.back() : -j, .position = position + j, .parent = j - 1, .seq = input.seq});
    }
    pass.layers = adapter_->config().layers;
    pass.adapter = adapter_.get();
    pass.state = needs_state() && !input.state.empty() ? input.state.data() : nullptr;
    pass.want_hidden = adapter_->config().confidence;
  }

  void take(const DraftInput& input, const DraftLimits& limits, const PassOutput& mine, DraftTree& tree) override {
    tree.clear();
    const int rows = rows_of(limits);
    out_ = mine;
    heap_.clear();
    add_children(input.tokens.back(), -1, 0, 1, limits.width);
    while (!heap_.empty() && isize(tree) < limits.nodes) {
      std::pop_heap(heap_.begin(), heap_.end(), less_likely);
      const Candidate best = heap_.back();
      heap_.pop_back();
      tree.push_back(best.node);
      const bool more = best.depth + 1 < rows && isize(tree) < limits.nodes;
      if (more) {
        add_children(best.node.token, isize(tree) - 1, best.depth + 1, best.path, limits.width);
      }
    }
  }

 private:
  // A path is no longer than the tree has nodes.
  int rows_of(const DraftLimits& limits) const { return std::min({max_depth(), limits.depth, limits.nodes}); }

  // The `width` most likely tokens after `previous`, which stands at `parent`, become candidates of that depth.
  void add_children(int32_t previous, int parent, int depth, float path, int width) {
    const size_t n = adapter_->draft_size();
    const auto row = out_.logits.subspan(usize(depth) * n, n);
    scored_.assign(row.begin(), row.end());
    z_.resize(adapter_->markov_p().rows());
    backend_.add_markov(*adapter_, {&previous, 1}, scored_, z_);
    const float largest = softmax::largest_of(scored_);
    if (!std::isfinite(largest)) return;
    const float sum = softmax::sum_of_exp(scored_, largest);
    const Chances chances = chances_of(depth, 1 / sum);
    for (int i = 0; i < width; ++i) {
      const float top = i == 0 ? largest : softmax::largest_of(scored_);
      if (!(top > softmax::kMinusInfinity)) return;
      const auto at = std::find(scored_.begin(), scored_.end(), top) - scored_.begin();
      scored_[at] = softmax::kMinusInfinity;
      const float probability = i == 0 ? chances.best : chances.others * softmax::exp_nonpositive(top - largest) / sum;
      heap_.push_back({{adapter_->draft_token(usize(at)), parent, probability}, depth, path * probability});
      std::push_heap(heap_.begin(), heap_.end(), less_likely);
    }
  }

  // What the best token's probability is taken to be, and the factor of those of the others.
  struct Chances {
    float best, others;
  };
  // The softmax's own, or, where the adapter has a confidence head, its estimate; the others share what it leaves.
  Chances chances_of(int depth, float best) const {
    if (!adapter_->config().confidence) return {best, 1};
    const size_t d = usize(backend_.config().d_model);
    const float sure = adapter_->confidence(out_.hidden.subspan(usize(depth) * d, d), z_);
    return {sure, best < 1 ? (1 - sure) / (1 - best) : 0};
  }

  Backend& backend_;
  KvCache& kv_;
  std::shared_ptr<const PackedAdapter> adapter_;
  std::string name_;
  PassOutput out_;             // of its rows, without the Markov term; hidden states for the confidence head
  std::vector<float> z_;       // [Markov rank] of one node
  std::vector<float> scored_;  // [draft_size] of one node
  std::vector<Candidate> heap_;
};

}  // namespace

std::unique_ptr<Drafter> make_s3d_drafter(Backend& backend, KvCache& kv, std::shared_ptr<const PackedAdapter> adapter,
                                          std::string_view name) {
  return std::make_unique<S3dDrafter>(backend, kv, std::move(adapter), name);
}

}  // namespace s3d
