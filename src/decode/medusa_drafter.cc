// Medusa: heads on the base's last state guess tokens further ahead (docs/drafters.md has the formulas).
#include <algorithm>
#include <utility>
#include <vector>

#include "base/index.h"
#include "decode/drafters.h"
#include "decode/medusa_heads.h"
#include "decode/top_choices.h"

namespace s3d {
namespace {

class MedusaDrafter : public Drafter {
 public:
  explicit MedusaDrafter(std::shared_ptr<MedusaHeads> heads) : heads_(std::move(heads)) {}

  std::string_view name() const override { return "medusa"; }
  int max_depth() const override { return heads_->heads(); }
  bool needs_pass() const override { return true; }
  bool needs_state() const override { return true; }
  size_t extra_bytes() const override { return heads_->bytes(); }

  Sharing sharing() const override { return Sharing::kOnePass; }

  void ask(const DraftInput& input, const DraftLimits& limits, DraftPass& pass, DraftTree& tree) override {
    tree.clear();
    pass.rows.clear();
    if (input.state.empty()) return;
    pass = heads_->pass(input.state, std::min({max_depth(), limits.depth, limits.nodes}));
  }

  void take(const DraftInput& /*input*/, const DraftLimits& limits, const PassOutput* mine, DraftPass& pass,
            DraftTree& tree) override {
    const size_t depth = pass.rows.size(), vocab = heads_->vocab();
    pass.rows.clear();
    if (mine == nullptr) return;
    by_depth_.clear();
    for (size_t k = 0; k < depth; ++k) {
      by_depth_.push_back(top_choices(mine->logits.subspan(k * vocab, vocab), limits.width));
    }
    grow(limits.nodes, tree);
  }

 private:
  // A node that may be added to the tree.
  struct Candidate {
    int parent, depth;
    Choice choice;
    float path;  // product of the probabilities from the root on
  };
  // Less likely paths are further down the heap; of equal ones, those whose parent came first win.
  static bool less_likely(const Candidate& a, const Candidate& b) {
    return a.path != b.path ? a.path < b.path : a.parent > b.parent;
  }

  // The most probable paths first. No head knows what another one chose: all nodes of a depth have the same children.
  void grow(int nodes, DraftTree& tree) {
    heap_.clear();
    add_children(-1, 0, 1);
    while (!heap_.empty() && isize(tree) < nodes) {
      std::pop_heap(heap_.begin(), heap_.end(), less_likely);
      const Candidate best = heap_.back();
      heap_.pop_back();
      tree.push_back({heads_->token(best.choice.index), best.parent, best.choice.probability});
      add_children(isize(tree) - 1, best.depth + 1, best.path);
    }
  }

  void add_children(int parent, int depth, float path) {
    if (depth >= isize(by_depth_)) return;
    for (const Choice& choice : by_depth_[usize(depth)]) {
      heap_.push_back({parent, depth, choice, path * choice.probability});
      std::push_heap(heap_.begin(), heap_.end(), less_likely);
    }
  }

  std::shared_ptr<MedusaHeads> heads_;
  std::vector<std::vector<Choice>> by_depth_;  // of each head
  std::vector<Candidate> heap_;
};

}  // namespace

std::unique_ptr<Drafter> make_medusa_drafter(std::shared_ptr<MedusaHeads> heads) {
  return std::make_unique<MedusaDrafter>(std::move(heads));
}

}  // namespace s3d
