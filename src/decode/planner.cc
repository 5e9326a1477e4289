#include "decode/planner.h"

#include <algorithm>

#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

std::vector<int> depths_of(const DraftTree& tree) {
  std::vector<int> depths;
  for (const DraftNode& node : tree) {
    depths.push_back(node.parent < 0 ? 0 : depths[node.parent] + 1);
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
  for (const int node : result.path) on_path[node] = true;
  const int accepted = isize(result.path);
  const int compared = result.finished ? accepted : accepted + 1;  // depths
  for (size_t i = 0; i < tree.size(); ++i) {
    const int parent = tree[i].parent;
    const bool parent_taken = parent < 0 || on_path[parent];
    if (parent_taken && depths[i] < compared) calibration.learn(tree[i].probability, depths[i], on_path[i]);
  }
  const int deepest = depths.empty() ? -1 : *std::max_element(depths.begin(), depths.end());
  for (int d = 0; d < std::min(deepest + 1, compared); ++d) calibration.learn_depth(d, d < accepted ? 1 : 0);
}

}  // namespace

Experience Experience::faded() const {
  Experience out = {.costs = costs, .free = {}, .pass = pass.faded(), .record = record.faded()};
  for (const Calibration& calibration : free) out.free.push_back(calibration.faded());
  return out;
}

Planner::Planner(std::vector<std::unique_ptr<Drafter>> free, std::unique_ptr<Drafter> pass,
                 std::shared_ptr<Experience> shared, int width)
    : free_(std::move(free)), pass_(std::move(pass)), shared_(std::move(shared)), width_(width) {
  S3D_CHECK(shared_ != nullptr);
  shared_->free.resize(free_.size());
  mine_ = shared_->faded();
}

bool Planner::needs_state() const {
  return pass_ != nullptr && pass_->needs_state();
}

Status Planner::propose(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) {
  round_ = {};
  Selection best;
  best.rate = 1 / mine_.costs.of(1);
  for (size_t i = 0; i < free_.size(); ++i) {
    S3D_ASSIGN(const bool better, consider(*free_[i], mine_.free[i], input, limits, 0, best));
    if (better) round_.chosen = static_cast<int>(i);
  }
  const bool possible = pass_ != nullptr && limits.nodes > 0 && limits.depth > 0;
  if (possible) S3D_TRY(consider_pass(input, limits, best));
  tree = std::move(best.tree);
  return Ok();
}

void Planner::learn(const DraftTree& tree, const RoundResult& result) {
  if (round_.chosen == kPass && gate_.probing()) gate_.learn_probe(!result.path.empty());
  const std::vector<int> depths = depths_of(tree);
  learn_into(mine_, tree, depths, result);
  learn_into(*shared_, tree, depths, result);
}

size_t Planner::extra_bytes() const {
  size_t bytes = pass_ != nullptr ? pass_->extra_bytes() : 0;
  for (const std::unique_ptr<Drafter>& drafter : free_) bytes += drafter->extra_bytes();
  return bytes;
}

// Asks a drafter; takes its tree, and tells so, if it promises more than `best`.
Result<bool> Planner::consider(Drafter& drafter, const Calibration& calibration, const DraftInput& input,
                               const DraftLimits& limits, double extra_seconds, Selection& best) {
  const DraftLimits asked = {.nodes = std::min(limits.nodes, kMaxRoundRows - 1),
                             .depth = std::min(limits.depth, drafter.max_depth()),
                             .width = drafter.needs_pass() ? width_ : 1};
  if (asked.nodes < 1 || asked.depth < 1) return false;
  S3D_TRY(drafter.draft(input, asked, round_.drafted));
  Selection selection =
      select_nodes(round_.drafted, chances_of(round_.drafted, calibration), mine_.costs, extra_seconds, asked.nodes);
  if (selection.tree.empty() || selection.rate <= best.rate) return false;
  best = std::move(selection);
  return true;
}

// The drafter that costs a pass: asked if the usual chances promise more than `best`, or now and then to see.
Status Planner::consider_pass(const DraftInput& input, const DraftLimits& limits, Selection& best) {
  const int most = std::min(limits.depth, pass_->max_depth());
  const DraftDepth expected = best_depth(mine_.pass, mine_.costs, most, limits.nodes);
  if (!gate_.open(expected.rate * mine_.record.factor(), best.rate, 1 / mine_.costs.of(1))) return Ok();
  round_.drafted_depth = std::max(1, expected.depth);
  round_.promised = gate_.probing() ? 0 : expected.rate;
  // Its cost is spent from here on, whatever is verified.
  const double seconds = mine_.costs.draft[round_.drafted_depth];
  best.rate = best.tokens / (seconds + mine_.costs.of(1 + isize(best.tree)));
  DraftLimits asked = limits;
  asked.depth = round_.drafted_depth;
  S3D_ASSIGN(const bool better, consider(*pass_, mine_.pass, input, asked, seconds, best));
  const bool told = gate_.probing() && !round_.drafted.empty();
  if (!better && told) best.tree = {round_.drafted.front()};
  if (better || told) round_.chosen = kPass;
  return Ok();
}

// `tree`: what was verified.
void Planner::learn_into(Experience& experience, const DraftTree& tree, const std::vector<int>& depths,
                         const RoundResult& result) const {
  if (result.verify_rows == 1 + isize(tree)) {
    experience.costs.observe_full(result.verify_rows, result.verify_seconds);
  }
  if (round_.chosen >= 0) learn_tree(experience.free[round_.chosen], tree, depths, result);
  if (round_.drafted_depth == 0) return;
  experience.costs.observe_draft(round_.drafted_depth, result.draft_seconds);
  if (round_.chosen == kPass) {
    learn_tree(experience.pass, tree, depths, result);
  } else if (!round_.drafted.empty()) {  // not verified: counts as what it was taken for
    experience.pass.learn_depth(0, experience.pass.chance(round_.drafted.front().probability, 0));
  }
  experience.pass.learn_undrafted(round_.drafted_depth);
  if (round_.promised <= 0) return experience.record.forget();  // a probe
  const double seconds = experience.costs.draft[round_.drafted_depth] + experience.costs.of(1 + isize(tree));
  experience.record.learn(round_.promised * seconds, 1 + static_cast<double>(result.path.size()));
}

}  // namespace s3d
