// The planner at work: one sequence's choice of drafter and rows, round by round.
#include <algorithm>

#include "base/check.h"
#include "spec/planner.h"
#include "spec/speculator.h"

namespace s3d {
namespace {

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

// What a verified tree tells about its drafter.
void learn_tree(Calibration& calibration, const DraftTree& tree, const std::vector<int>& depths,
                const RoundResult& result) {
  std::vector<bool> on_path(tree.size());
  for (const int node : result.path) on_path[static_cast<size_t>(node)] = true;
  const int accepted = static_cast<int>(result.path.size());
  const int compared = result.finished ? accepted : accepted + 1;  // depths
  for (size_t i = 0; i < tree.size(); ++i) {
    const int parent = tree[i].parent;
    const bool parent_taken = parent < 0 || on_path[static_cast<size_t>(parent)];
    if (parent_taken && depths[i] < compared) calibration.learn(tree[i].probability, depths[i], on_path[i]);
  }
  const int deepest = depths.empty() ? -1 : *std::max_element(depths.begin(), depths.end());
  for (int d = 0; d < std::min(deepest + 1, compared); ++d) calibration.learn_depth(d, d < accepted ? 1 : 0);
}

class AutoSpeculator : public Speculator {
 public:
  AutoSpeculator(std::vector<std::unique_ptr<Drafter>> free, std::unique_ptr<Drafter> pass,
                 std::shared_ptr<Learned> shared, int width)
      : free_(std::move(free)), pass_(std::move(pass)), shared_(std::move(shared)), width_(width) {
    S3D_CHECK(shared_ != nullptr);
    shared_->free.resize(free_.size());
    mine_ = shared_->faded();
  }

  bool needs_state() const override { return pass_ != nullptr && pass_->needs_state(); }

  Status propose(const DraftContext& context, const DraftLimits& limits, DraftTree& tree) override {
    round_ = {};
    Selection best;
    best.rate = 1 / mine_.costs.of(1);
    for (size_t i = 0; i < free_.size(); ++i) {
      S3D_ASSIGN(const bool better, consider(*free_[i], mine_.free[i], context, limits, 0, best));
      if (better) round_.arm = static_cast<int>(i);
    }
    const bool possible = pass_ != nullptr && limits.nodes > 0 && limits.depth > 0;
    if (possible) S3D_TRY(consider_pass(context, limits, best));
    tree = std::move(best.tree);
    return Ok();
  }

  void learn(const DraftTree& tree, const RoundResult& result) override {
    if (round_.arm == kPass && gate_.probing()) gate_.learn_probe(!result.path.empty());
    const std::vector<int> depths = depths_of(tree);
    learn_into(mine_, tree, depths, result);
    learn_into(*shared_, tree, depths, result);
  }

  size_t extra_bytes() const override {
    size_t bytes = pass_ != nullptr ? pass_->extra_bytes() : 0;
    for (const std::unique_ptr<Drafter>& drafter : free_) bytes += drafter->extra_bytes();
    return bytes;
  }

 private:
  static constexpr int kNobody = -1, kPass = -2;

  // The round in progress.
  struct Round {
    int arm = kNobody;      // whose tree is verified: an index in free_, kPass or kNobody
    int drafted_depth = 0;  // of the pass drafter's draft; 0: it was not asked
    double promised = 0;    // rate for which it was asked, before its track record was applied; 0: as a probe
    DraftTree drafted;      // its draft
  };

  // Asks a drafter; takes its tree, and tells so, if it promises more than `best`.
  Result<bool> consider(Drafter& drafter, const Calibration& calibration, const DraftContext& context,
                        const DraftLimits& limits, double extra_seconds, Selection& best) {
    const DraftLimits asked = {.nodes = std::min(limits.nodes, PassCosts::kMostRows - 1),
                               .depth = std::min(limits.depth, drafter.max_depth()),
                               .width = drafter.needs_pass() ? width_ : 1};
    if (asked.nodes < 1 || asked.depth < 1) return false;
    S3D_TRY(drafter.draft(context, asked, round_.drafted));
    Selection selection =
        select_nodes(round_.drafted, chances_of(round_.drafted, calibration), mine_.costs, extra_seconds, asked.nodes);
    if (selection.tree.empty() || selection.rate <= best.rate) return false;
    best = std::move(selection);
    return true;
  }

  // The drafter that costs a pass: asked if the usual chances promise more than `best`, or now and then to see.
  Status consider_pass(const DraftContext& context, const DraftLimits& limits, Selection& best) {
    const int most = std::min(limits.depth, pass_->max_depth());
    const DraftDepth expected = best_depth(mine_.pass, mine_.costs, most, limits.nodes);
    if (!gate_.open(expected.rate * mine_.record.factor(), best.rate, 1 / mine_.costs.of(1))) return Ok();
    round_.drafted_depth = std::max(1, expected.depth);
    round_.promised = gate_.probing() ? 0 : expected.rate;
    // Its cost is spent from here on, whatever is verified.
    const double seconds = mine_.costs.draft[static_cast<size_t>(round_.drafted_depth)];
    best.rate = best.tokens / (seconds + mine_.costs.of(1 + static_cast<int>(best.tree.size())));
    DraftLimits asked = limits;
    asked.depth = round_.drafted_depth;
    S3D_ASSIGN(const bool better, consider(*pass_, mine_.pass, context, asked, seconds, best));
    const bool told = gate_.probing() && !round_.drafted.empty();
    if (!better && told) best.tree = {round_.drafted.front()};
    if (better || told) round_.arm = kPass;
    return Ok();
  }

  // `tree`: what was verified.
  void learn_into(Learned& learned, const DraftTree& tree, const std::vector<int>& depths,
                  const RoundResult& result) const {
    if (result.verify_rows == 1 + static_cast<int>(tree.size())) {
      learned.costs.observe_full(result.verify_rows, result.verify_seconds);
    }
    if (round_.arm >= 0) learn_tree(learned.free[static_cast<size_t>(round_.arm)], tree, depths, result);
    if (round_.drafted_depth == 0) return;
    learned.costs.observe_draft(round_.drafted_depth, result.draft_seconds);
    if (round_.arm == kPass) {
      learn_tree(learned.pass, tree, depths, result);
    } else if (!round_.drafted.empty()) {  // not verified: counts as what it was taken for
      learned.pass.learn_depth(0, learned.pass.chance(round_.drafted.front().probability, 0));
    }
    learned.pass.learn_undrafted(round_.drafted_depth);
    if (round_.promised <= 0) return learned.record.forget();  // a probe
    const double seconds = learned.costs.draft[static_cast<size_t>(round_.drafted_depth)] +
                           learned.costs.of(1 + static_cast<int>(tree.size()));
    learned.record.learn(round_.promised * seconds, 1 + static_cast<double>(result.path.size()));
  }

  std::vector<std::unique_ptr<Drafter>> free_;
  std::unique_ptr<Drafter> pass_;  // or null
  std::shared_ptr<Learned> shared_;
  Learned mine_;  // of this sequence
  int width_;
  DraftGate gate_;
  Round round_;
};

}  // namespace

std::unique_ptr<Speculator> make_auto_speculator(std::vector<std::unique_ptr<Drafter>> free,
                                                 std::unique_ptr<Drafter> pass, std::shared_ptr<Learned> shared,
                                                 int width) {
  return std::make_unique<AutoSpeculator>(std::move(free), std::move(pass), std::move(shared), width);
}

}  // namespace s3d
