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
  Experience out = {.draft = draft, .free = {}, .pass = pass.faded(), .record = record.faded(), .riders = riders};
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

Status Planner::propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad& load, Proposal& proposal) {
  proposal.clear();
  round_ = {.load = load};
  round_.best.worth.rate = load.rate(1, 1, 0);
  limits_ = limits;
  if (limits.nodes < 1 || limits.depth < 1) return Ok();
  S3D_TRY(ask_free(input, limits));
  if (pass_ == nullptr || !wants_pass(limits)) {
    hand_over(proposal);
    return Ok();
  }
  if (pass_->shares_pass()) {
    pass_->ask(input, round_.asked, proposal.pass);
    return Ok();
  }
  S3D_TRY(pass_->draft(input, round_.asked, round_.drafted));
  weigh_pass();
  hand_over(proposal);
  return Ok();
}

Status Planner::ask_free(const DraftInput& input, const DraftLimits& limits) {
  for (size_t i = 0; i < free_.size(); ++i) {
    DraftLimits asked = limits;
    asked.depth = std::min(limits.depth, free_[i]->max_depth());
    S3D_TRY(free_[i]->draft(input, asked, round_.drafted));
    const double without = round_.best.worth.rate;
    const bool better = consider(round_.drafted, static_cast<int>(i), mine_.free[i], 0, limits.nodes);
    if (free_[i]->riders() == nullptr || round_.drafted.empty()) continue;
    round_.riders_drafted = true;
    const Selection& worth = round_.best.worth;
    if (better) round_.riders_gain = (round_.load.tokens + worth.tokens) * (1 - without / worth.rate);
  }
  round_.drafted.clear();
  return Ok();
}

Drafter* Planner::rider() const {
  return !free_.empty() && free_.back()->riders() != nullptr ? free_.back().get() : nullptr;
}

void Planner::take(const DraftInput& input, const PassOutput& mine, Proposal& proposal) {
  pass_->take(input, round_.asked, mine, round_.drafted);
  weigh_pass();
  hand_over(proposal);
}

std::span<const int> Planner::taps() const {
  return pass_ != nullptr ? pass_->taps() : std::span<const int>();
}

void Planner::observe(const CommittedRows& rows) {
  if (pass_ != nullptr) pass_->observe(rows);
}

void Planner::observe_riders(const PassOutput& riders) {
  if (rider() == nullptr) return;
  rider()->observe_riders(riders);
  observed_ = true;
}

void Planner::learn(const DraftTree& tree, const RoundResult& result) {
  if (round_.chosen == kPass && gate_.probing()) gate_.learn_probe(!result.path.empty());
  const std::vector<int> depths = depths_of(tree);
  learn_into(mine_, tree, depths, result);
  learn_into(*shared_, tree, depths, result);
  if (rider() != nullptr && !observed_) rider()->observe_riders({});
  observed_ = false;
}

size_t Planner::extra_bytes() const {
  size_t bytes = pass_ != nullptr ? pass_->extra_bytes() : 0;
  for (const std::unique_ptr<Drafter>& drafter : free_) bytes += drafter->extra_bytes();
  return bytes;
}

void Planner::expect(std::span<const TokenId> text) {
  for (const std::unique_ptr<Drafter>& drafter : free_) drafter->expect(text);
}

// Takes a draft, and tells so, if it promises more than the best one so far.
bool Planner::consider(const DraftTree& tree, int whose, const Calibration& calibration, double extra_seconds,
                       int nodes) {
  std::vector<double> chances = chances_of(tree, calibration);
  Selection worth = select_nodes(tree, chances, round_.load, extra_seconds, nodes);
  if (worth.tree.empty() || worth.rate <= round_.best.worth.rate) return false;
  round_.best = {.tree = tree, .chances = std::move(chances), .whose = whose, .worth = std::move(worth)};
  return true;
}

// The drafter that costs a pass: asked if the usual chances promise more than the best draft so far, or now and then to
// see.
bool Planner::wants_pass(const DraftLimits& limits) {
  const int most = std::min(limits.depth, pass_->max_depth());
  RoundLoad load = round_.load;
  if (!pass_->shares_pass()) load.drafters = 1;
  const DraftDepth expected = best_depth(mine_.pass, mine_.draft, load, most, limits.nodes);
  const double plain = load.rate(1, 1, 0);
  if (!gate_.open(expected.rate * mine_.record.factor(), round_.best.worth.rate, plain, load.sequences)) return false;
  round_.drafted_depth = std::max(1, expected.depth);
  round_.drafters = load.drafters;
  round_.promised = gate_.probing() ? 0 : expected.rate;
  round_.asked = {.nodes = std::min(limits.nodes, kMaxDraft), .depth = round_.drafted_depth, .width = width_};
  return true;
}

// Its cost is spent, whatever is verified.
void Planner::weigh_pass() {
  const double seconds = mine_.draft.share(round_.drafted_depth, round_.drafters);
  Selection& other = round_.best.worth;
  other.rate = round_.load.rate(other.tokens, 1 + isize(other.tree), seconds);
  const bool better = consider(round_.drafted, kPass, mine_.pass, seconds, round_.asked.nodes);
  const bool told = gate_.probing() && !round_.drafted.empty();
  if (better || !told) return;
  round_.best = {.tree = {round_.drafted.front()}, .chances = {}, .whose = kPass};
}

void Planner::hand_over(Proposal& proposal) {
  round_.chosen = round_.best.whose;
  if (rider() != nullptr && !round_.best.chances.empty()) cut_to_worth();
  proposal.tree = std::move(round_.best.tree);
  proposal.chances = std::move(round_.best.chances);
  if (round_.chosen != kNobody) {
    proposal.source = round_.chosen == kPass ? pass_->name() : free_[usize(round_.chosen)]->name();
  }
  if (rider() != nullptr && proposal.chances.size() == proposal.tree.size()) add_riders(proposal);
}

// A node that is not worth its row is not worth a rider's behind it.
void Planner::cut_to_worth() {
  const Calibration& calibration = round_.chosen == kPass ? mine_.pass : mine_.free[usize(round_.chosen)];
  round_.best.tree = round_.best.worth.tree;
  round_.best.chances = chances_of(round_.best.tree, calibration);
}

// Behind the rows that may be the last that are right, while the next round gains more than the rows cost.
void Planner::add_riders(Proposal& proposal) const {
  std::vector<double> chances, costs;
  for (int depth = 0; depth < rider()->max_depth(); ++depth) chances.push_back(mine_.free.back().chance_at(depth));
  const PassCosts& passes = *round_.load.costs;
  const int rows = round_.load.rows + 1 + isize(proposal.tree);
  const int most = std::min(limits_.nodes - isize(proposal.tree), kMaxDraft);
  for (int i = 0; i < most; ++i) {
    costs.push_back(round_.best.worth.rate * (passes.of(rows + i + 1) - passes.of(rows + i)));
  }
  const std::vector<double> worth = mine_.riders.of_masks(chances);
  ride(choose_riders(proposal.tree, proposal.chances, worth, costs, limits_.depth), *rider()->riders(), proposal);
}

// `tree`: what was verified.
void Planner::learn_into(Experience& experience, const DraftTree& tree, const std::vector<int>& depths,
                         const RoundResult& result) const {
  if (round_.chosen >= 0) learn_tree(experience.free[usize(round_.chosen)], tree, depths, result);
  round_.riders_drafted ? experience.riders.learn(round_.riders_gain) : experience.riders.forget();
  if (round_.drafted_depth == 0) return;
  experience.draft.observe(result.draft_rows > 0 ? result.draft_rows : round_.drafted_depth, result.draft_seconds);
  const bool verified = round_.chosen == kPass && !tree.empty();
  if (verified) {
    learn_tree(experience.pass, tree, depths, result);
  } else if (!round_.drafted.empty()) {  // not verified: counts as what it was taken for
    experience.pass.learn_depth(0, experience.pass.chance(round_.drafted.front().probability, 0));
  }
  experience.pass.learn_undrafted(round_.drafted_depth);
  if (round_.promised <= 0) return experience.record.forget();  // a probe
  const double seconds = experience.draft.share(round_.drafted_depth, round_.drafters) +
                         round_.load.costs->of(round_.load.rows + 1 + isize(tree));
  const double others = round_.load.tokens;
  experience.record.learn(round_.promised * seconds - others, 1 + static_cast<double>(result.path.size()));
}

}  // namespace s3d
