// The planner at work: one sequence's choice of drafter and rows, round by round.
#include <algorithm>

#include "spec/planner.h"
#include "spec/speculator.h"

namespace s3d {
namespace {

// A drafter and what was learned about it.
struct Arm {
  std::unique_ptr<Drafter> drafter;
  Calibration calibration = {};
};

std::vector<int> depths_of(const DraftTree& tree) {
  std::vector<int> depths;
  for (const DraftNode& node : tree) {
    depths.push_back(node.parent < 0 ? 0 : depths[static_cast<size_t>(node.parent)] + 1);
  }
  return depths;
}

std::vector<double> chances_of(const DraftTree& tree, const Calibration& calibration) {
  const std::vector<int> depths = depths_of(tree);
  std::vector<double> chances;
  for (size_t i = 0; i < tree.size(); ++i) chances.push_back(calibration.chance(tree[i].probability, depths[i]));
  return chances;
}

class AutoSpeculator : public Speculator {
 public:
  AutoSpeculator(std::vector<std::unique_ptr<Drafter>> free, std::unique_ptr<Drafter> pass, const PassCosts& costs,
                 int width)
      : costs_(costs), width_(width) {
    for (std::unique_ptr<Drafter>& drafter : free) free_.push_back({.drafter = std::move(drafter)});
    pass_.drafter = std::move(pass);
  }

  bool needs_state() const override { return pass_.drafter != nullptr && pass_.drafter->needs_state(); }

  Status propose(const DraftContext& context, const DraftLimits& limits, DraftTree& tree) override {
    active_ = nullptr;
    drafted_depth_ = 0;
    Selection best;
    best.rate = 1 / costs_.of(1);
    for (Arm& arm : free_) S3D_TRY(consider(arm, context, limits, 0, best));
    const bool possible = pass_.drafter != nullptr && limits.nodes > 0 && limits.depth > 0;
    if (possible) S3D_TRY(consider_pass(context, limits, best));
    tree = std::move(best.tree);
    return Ok();
  }

  void learn(const DraftTree& tree, const RoundResult& result) override {
    if (result.verify_rows == 1 + static_cast<int>(tree.size())) {
      costs_.observe_full(result.verify_rows, result.verify_seconds);
    }
    if (drafted_depth_ > 0) costs_.observe_draft(drafted_depth_, result.draft_seconds);
    if (active_ == nullptr) return;
    if (active_ == &pass_ && gate_.probing()) gate_.learn_probe(!result.path.empty());
    const std::vector<int> depths = depths_of(tree);
    std::vector<bool> on_path(tree.size());
    for (const int node : result.path) on_path[static_cast<size_t>(node)] = true;
    for (size_t i = 0; i < tree.size(); ++i) {
      const int parent = tree[i].parent;
      const bool compared = parent < 0 || on_path[static_cast<size_t>(parent)];
      if (compared) active_->calibration.learn(tree[i].probability, depths[i], on_path[i]);
    }
    learn_depths(depths, result.path.size());
  }

  size_t extra_bytes() const override {
    size_t bytes = pass_.drafter != nullptr ? pass_.drafter->extra_bytes() : 0;
    for (const Arm& arm : free_) bytes += arm.drafter->extra_bytes();
    return bytes;
  }

 private:
  // Asks a drafter; takes its tree if it promises more than `best`.
  Status consider(Arm& arm, const DraftContext& context, const DraftLimits& limits, double extra_seconds,
                  Selection& best) {
    const DraftLimits mine = {.nodes = std::min(limits.nodes, PassCosts::kMostRows - 1),
                              .depth = std::min(limits.depth, arm.drafter->max_depth()),
                              .width = arm.drafter->needs_pass() ? width_ : 1};
    if (mine.nodes < 1 || mine.depth < 1) return Ok();
    S3D_TRY(arm.drafter->draft(context, mine, scratch_));
    const std::vector<double> chances = chances_of(scratch_, arm.calibration);
    Selection selection = select_nodes(scratch_, chances, costs_, extra_seconds, mine.nodes);
    if (arm.drafter->needs_pass()) first_chance_ = chances.empty() ? 0 : chances[0];
    if (selection.tree.empty() || selection.rate <= best.rate) return Ok();
    best = std::move(selection);
    active_ = &arm;
    return Ok();
  }

  // The drafter that costs a pass: asked if the usual chances promise more than `best`, or now and then to see.
  Status consider_pass(const DraftContext& context, const DraftLimits& limits, Selection& best) {
    const int most = std::min(limits.depth, pass_.drafter->max_depth());
    const DraftDepth expected = best_depth(pass_.calibration, costs_, most, limits.nodes);
    if (!gate_.open(expected.rate, best.rate)) return Ok();
    // Its cost is spent from here on, whatever is verified.
    drafted_depth_ = std::max(1, expected.depth);
    const double seconds = costs_.draft[static_cast<size_t>(drafted_depth_)];
    active_ = nullptr;
    best = {};
    best.rate = 1 / (seconds + costs_.of(1));
    DraftLimits mine = limits;
    mine.depth = drafted_depth_;
    S3D_TRY(consider(pass_, context, mine, seconds, best));
    if (active_ == nullptr && gate_.probing() && !scratch_.empty()) {
      best.tree = {scratch_.front()};
      active_ = &pass_;
    }
    if (active_ == nullptr) pass_.calibration.learn_depth(0, first_chance_);
    pass_.calibration.learn_undrafted(drafted_depth_);
    return Ok();
  }

  void learn_depths(const std::vector<int>& depths, size_t accepted) {
    const int deepest = depths.empty() ? -1 : *std::max_element(depths.begin(), depths.end());
    for (int d = 0; d <= std::min(deepest, static_cast<int>(accepted)); ++d) {
      active_->calibration.learn_depth(d, d < static_cast<int>(accepted) ? 1 : 0);
    }
  }

  PassCosts costs_;
  int width_;
  std::vector<Arm> free_;
  Arm pass_;
  DraftGate gate_;
  Arm* active_ = nullptr;  // whose tree is verified in this round
  int drafted_depth_ = 0;  // of the pass drafter's draft in this round; 0: it was not asked
  double first_chance_ = 0;
  DraftTree scratch_;
};

}  // namespace

std::unique_ptr<Speculator> make_auto_speculator(std::vector<std::unique_ptr<Drafter>> free,
                                                 std::unique_ptr<Drafter> pass, const PassCosts& costs, int width) {
  return std::make_unique<AutoSpeculator>(std::move(free), std::move(pass), costs, width);
}

}  // namespace s3d
