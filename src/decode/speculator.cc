#include "decode/speculator.h"

#include <algorithm>

namespace s3d {
namespace {

class FixedSpeculator : public Speculator {
 public:
  FixedSpeculator(std::unique_ptr<Drafter> drafter, int nodes, int width)
      : drafter_(std::move(drafter)), nodes_(nodes), width_(width) {}

  bool needs_state() const override { return drafter_->needs_state(); }

  Status propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad&, Proposal& proposal) override {
    proposal.clear();
    asked_ = {std::min(nodes_, limits.nodes), std::min(drafter_->max_depth(), limits.depth), width_};
    if (asked_.nodes < 1 || asked_.depth < 1) return Ok();
    proposal.source = drafter_->name();
    if (!drafter_->shares_pass()) return drafter_->draft(input, asked_, proposal.tree);
    drafter_->ask(input, asked_, proposal.pass);
    return Ok();
  }
  void take(const DraftInput& input, const PassOutput& mine, Proposal& proposal) override {
    drafter_->take(input, asked_, mine, proposal.tree);
  }

  void learn(const DraftTree&, const RoundResult&) override {}
  void expect(std::span<const TokenId> text) override { drafter_->expect(text); }
  size_t extra_bytes() const override { return drafter_->extra_bytes(); }

 private:
  std::unique_ptr<Drafter> drafter_;
  int nodes_, width_;
  DraftLimits asked_;
};

}  // namespace

std::unique_ptr<Speculator> make_fixed_speculator(std::unique_ptr<Drafter> drafter, int nodes, int width) {
  return std::make_unique<FixedSpeculator>(std::move(drafter), nodes, width);
}

}  // namespace s3d
