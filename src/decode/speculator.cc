#include "decode/speculator.h"

#include <algorithm>
#include <utility>

#include "base/index.h"
#include "decode/rider_choice.h"

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
    if (drafter_->sharing() != Sharing::kNone) {
      drafter_->ask(input, asked_, proposal.pass, proposal.tree);
      return Ok();
    }
    S3D_TRY(drafter_->draft(input, asked_, proposal.tree));
    if (drafter_->riders() != nullptr) add_riders(limits, proposal);
    return Ok();
  }
  std::span<const int> taps() const override { return drafter_->taps(); }
  void observe(const CommittedRows& rows) override { drafter_->observe(rows); }
  void observe_riders(const PassOutput& riders) override {
    drafter_->observe_riders(riders);
    observed_ = true;
  }
  void take(const DraftInput& input, const PassOutput* mine, Proposal& proposal) override {
    drafter_->take(input, asked_, mine, proposal.pass, proposal.tree);
  }

  void learn(const DraftTree&, const RoundResult&) override {
    if (!observed_) drafter_->observe_riders({});
    observed_ = false;
  }
  void expect(std::span<const TokenId> text) override { drafter_->expect(text); }
  size_t extra_bytes() const override { return drafter_->extra_bytes(); }

 private:
  // All masks behind every row, as far as there is room.
  void add_riders(const DraftLimits& limits, Proposal& proposal) const {
    const size_t rows = proposal.tree.size() + 1;
    const std::vector<double> chances(rows - 1, 1.0 / static_cast<double>(rows)),
        worth(usize(drafter_->max_depth()), 1);
    const std::vector<double> free(usize(std::max(0, limits.nodes - isize(proposal.tree))), 0);
    ride(choose_riders(proposal.tree, chances, worth, free, limits.depth), *drafter_->riders(), proposal);
  }

  std::unique_ptr<Drafter> drafter_;
  int nodes_, width_;
  DraftLimits asked_;
  bool observed_ = false;  // riders, in this round
};

}  // namespace

std::unique_ptr<Speculator> make_fixed_speculator(std::unique_ptr<Drafter> drafter, int nodes, int width) {
  return std::make_unique<FixedSpeculator>(std::move(drafter), nodes, width);
}

}  // namespace s3d
