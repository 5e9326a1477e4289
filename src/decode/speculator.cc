#include "decode/speculator.h"

#include <algorithm>

namespace s3d {
namespace {

class FixedSpeculator : public Speculator {
 public:
  FixedSpeculator(std::unique_ptr<Drafter> drafter, int nodes, int width)
      : drafter_(std::move(drafter)), nodes_(nodes), width_(width) {}

  bool needs_state() const override { return drafter_->needs_state(); }
  Status propose(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    const DraftLimits mine = {std::min(nodes_, limits.nodes), std::min(drafter_->max_depth(), limits.depth), width_};
    if (mine.nodes < 1 || mine.depth < 1) return Ok();
    return drafter_->draft(input, mine, tree);
  }
  void learn(const DraftTree&, const RoundResult&) override {}
  size_t extra_bytes() const override { return drafter_->extra_bytes(); }

 private:
  std::unique_ptr<Drafter> drafter_;
  int nodes_, width_;
};

}  // namespace

std::unique_ptr<Speculator> make_fixed_speculator(std::unique_ptr<Drafter> drafter, int nodes, int width) {
  return std::make_unique<FixedSpeculator>(std::move(drafter), nodes, width);
}

}  // namespace s3d
