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

// What the drafters want to read, each number of layers once, rising.
std::vector<int> all_taps(const std::vector<std::unique_ptr<Drafter>>& drafters) {
  std::vector<int> taps;
  for (const std::unique_ptr<Drafter>& drafter : drafters) {
    taps.insert(taps.end(), drafter->taps().begin(), drafter->taps().end());
  }
  std::sort(taps.begin(), taps.end());
  taps.erase(std::unique(taps.begin(), taps.end()), taps.end());
  return taps;
}

// Of features behind the layers `taps`, those behind `wanted`, which are among them: [count, wanted, d_model].
std::vector<float> columns_of(const CommittedRows& rows, std::span<const int> taps, std::span<const int> wanted) {
  const size_t states = usize(rows.count) * taps.size();
  const size_t d = states > 0 ? rows.features.size() / states : 0;
  std::vector<float> out;
  for (size_t row = 0; row < usize(rows.count); ++row) {
    for (const int tap : wanted) {
      const auto at = usize(std::lower_bound(taps.begin(), taps.end(), tap) - taps.begin());
      const std::span<const float> state = rows.features.subspan((row * taps.size() + at) * d, d);
      out.insert(out.end(), state.begin(), state.end());
    }
  }
  return out;
}

std::vector<std::unique_ptr<Drafter>> as_list(std::unique_ptr<Drafter> drafter) {
  std::vector<std::unique_ptr<Drafter>> list;
  if (drafter != nullptr) list.push_back(std::move(drafter));
  return list;
}

}  // namespace

Experience Experience::faded() const {
  Experience out = {.free = {}, .pass = {}, .riders = riders};
  for (const Calibration& calibration : free) out.free.push_back(calibration.faded());
  for (const PassExperience& one : pass) {
    out.pass.push_back({.costs = one.costs, .chances = one.chances.faded(), .record = one.record.faded()});
  }
  return out;
}

Planner::Planner(std::vector<std::unique_ptr<Drafter>> free, std::vector<std::unique_ptr<Drafter>> passes,
                 std::shared_ptr<Experience> shared, int width)
    : free_(std::move(free)),
      passes_(std::move(passes)),
      taps_(all_taps(passes_)),
      shared_(std::move(shared)),
      width_(width),
      pass_choice_(isize(passes_)) {
  S3D_CHECK(shared_ != nullptr);
  S3D_CHECK(shared_->pass.empty() || shared_->pass.size() == passes_.size(), "the experience of other drafters");
  shared_->free.resize(free_.size());
  shared_->pass.resize(passes_.size());
  for (size_t i = 0; i < passes_.size(); ++i) {
    shared_->pass[i].costs.in_steps = passes_[i]->sharing() == Sharing::kSteps;
  }
  mine_ = shared_->faded();
}

Planner::Planner(std::vector<std::unique_ptr<Drafter>> free, std::unique_ptr<Drafter> pass,
                 std::shared_ptr<Experience> shared, int width)
    : Planner(std::move(free), as_list(std::move(pass)), std::move(shared), width) {}

bool Planner::needs_state() const {
  return std::any_of(passes_.begin(), passes_.end(), [](const auto& pass) { return pass->needs_state(); });
}

Status Planner::propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad& load, Proposal& proposal) {
  proposal.clear();
  round_ = {.load = load};
  round_.best.worth.rate = load.rate(1, 1, 0);
  limits_ = limits;
  if (limits.nodes < 1 || limits.depth < 1) return Ok();
  S3D_TRY(ask_free(input, limits));
  if (!choose_pass(limits)) {
    hand_over(proposal);
    return Ok();
  }
  Drafter& pass = *passes_[usize(round_.asked_pass)];
  if (pass.sharing() == Sharing::kNone) {
    S3D_TRY(pass.draft(input, round_.asked, round_.drafted));
  } else {
    pass.ask(input, round_.asked, proposal.pass, round_.drafted);
    if (!proposal.pass.rows.empty()) return Ok();
  }
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
    const bool better = consider(round_.drafted, {.free = static_cast<int>(i)}, 0, limits.nodes);
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

void Planner::take(const DraftInput& input, const PassOutput* mine, Proposal& proposal) {
  passes_[usize(round_.asked_pass)]->take(input, round_.asked, mine, proposal.pass, round_.drafted);
  if (!proposal.pass.rows.empty()) return;
  weigh_pass();
  hand_over(proposal);
}

std::span<const int> Planner::taps() const {
  return taps_;
}

// Each drafter sees the layers that it asked for.
void Planner::observe(const CommittedRows& rows) {
  for (const std::unique_ptr<Drafter>& pass : passes_) {
    const std::span<const int> mine = pass->taps();
    if (mine.empty()) continue;
    if (mine.size() == taps_.size()) {
      pass->observe(rows);
      continue;
    }
    const std::vector<float> features = columns_of(rows, taps_, mine);
    pass->observe({.text = rows.text, .first = rows.first, .count = rows.count, .features = features});
  }
}

void Planner::observe_riders(const PassOutput& riders) {
  if (rider() == nullptr) return;
  rider()->observe_riders(riders);
  observed_ = true;
}

void Planner::learn(const DraftTree& tree, const RoundResult& result) {
  if (round_.chosen.pass >= 0 && pass_choice_.probing()) {
    const double tokens = round_.load.tokens + 1 + static_cast<double>(result.path.size());
    const double seconds = seconds_of_round(mine_.pass[usize(round_.chosen.pass)], tree);
    pass_choice_.learn_probe(!result.path.empty(), seconds > 0 ? tokens / seconds : 0);
  }
  const std::vector<int> depths = depths_of(tree);
  learn_into(mine_, tree, depths, result);
  learn_into(*shared_, tree, depths, result);
  if (rider() != nullptr && !observed_) rider()->observe_riders({});
  observed_ = false;
}

size_t Planner::extra_bytes() const {
  size_t bytes = 0;
  for (const std::unique_ptr<Drafter>& drafter : passes_) bytes += drafter->extra_bytes();
  for (const std::unique_ptr<Drafter>& drafter : free_) bytes += drafter->extra_bytes();
  return bytes;
}

void Planner::expect(std::span<const TokenId> text) {
  for (const std::unique_ptr<Drafter>& drafter : free_) drafter->expect(text);
}

const Calibration& Planner::calibration_of(Author whose) const {
  return whose.pass >= 0 ? mine_.pass[usize(whose.pass)].chances : mine_.free[usize(whose.free)];
}

// Takes a draft, and tells so, if it promises more than the best one so far.
bool Planner::consider(const DraftTree& tree, Author whose, double extra_seconds, int nodes) {
  std::vector<double> chances = chances_of(tree, calibration_of(whose));
  Selection worth = select_nodes(tree, chances, round_.load, extra_seconds, nodes);
  if (worth.tree.empty() || worth.rate <= round_.best.worth.rate) return false;
  round_.best = {.tree = tree, .chances = std::move(chances), .whose = whose, .worth = std::move(worth)};
  return true;
}

RoundLoad Planner::load_of(const Drafter& pass) const {
  RoundLoad load = round_.load;
  if (pass.sharing() == Sharing::kNone) load.drafters = 1;
  return load;
}

// A drafter that costs a pass is asked if its usual chances promise more than the best draft so far, or now and then to
// see. Of several at most one.
bool Planner::choose_pass(const DraftLimits& limits) {
  if (passes_.empty()) return false;
  std::vector<DraftDepth> expected;
  std::vector<double> promised;
  for (size_t i = 0; i < passes_.size(); ++i) {
    const PassExperience& known = mine_.pass[i];
    const int most = std::min(limits.depth, passes_[i]->max_depth());
    expected.push_back(best_depth(known.chances, known.costs, load_of(*passes_[i]), most, limits.nodes));
    promised.push_back(expected.back().rate * known.record.factor());
  }
  const RoundRates rates = {
      .free = round_.best.worth.rate, .plain = round_.load.rate(1, 1, 0), .sequences = round_.load.sequences};
  round_.asked_pass = pass_choice_.choose(promised, rates);
  if (round_.asked_pass < 0) return false;
  const auto chosen = usize(round_.asked_pass);
  round_.drafted_depth = std::max(1, expected[chosen].depth);
  round_.drafters = load_of(*passes_[chosen]).drafters;
  round_.promised = pass_choice_.probing() ? 0 : expected[chosen].rate;
  round_.asked = {.nodes = std::min(limits.nodes, kMaxDraft), .depth = round_.drafted_depth, .width = width_};
  return true;
}

// Its cost is spent, whatever is verified.
void Planner::weigh_pass() {
  const Author whose = {.pass = round_.asked_pass};
  const double seconds = mine_.pass[usize(whose.pass)].costs.share(round_.drafted_depth, round_.drafters);
  Selection& other = round_.best.worth;
  other.rate = round_.load.rate(other.tokens, 1 + isize(other.tree), seconds);
  const bool better = consider(round_.drafted, whose, seconds, round_.asked.nodes);
  if (better) round_.riders_gain = 0;  // what rode was there for nothing
  const bool told = pass_choice_.probing() && !round_.drafted.empty();
  if (better || !told) return;
  round_.best = {.tree = {round_.drafted.front()}, .chances = {}, .whose = whose};
}

void Planner::hand_over(Proposal& proposal) {
  round_.chosen = round_.best.whose;
  if (rider() != nullptr && !round_.best.chances.empty()) cut_to_worth();
  proposal.tree = std::move(round_.best.tree);
  proposal.chances = std::move(round_.best.chances);
  if (round_.chosen.pass >= 0) proposal.source = passes_[usize(round_.chosen.pass)]->name();
  if (round_.chosen.free >= 0) proposal.source = free_[usize(round_.chosen.free)]->name();
  if (rider() != nullptr && proposal.chances.size() == proposal.tree.size()) add_riders(proposal);
}

// A node that is not worth its row is not worth a rider's behind it.
void Planner::cut_to_worth() {
  round_.best.tree = round_.best.worth.tree;
  round_.best.chances = chances_of(round_.best.tree, calibration_of(round_.chosen));
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
  if (round_.chosen.free >= 0) learn_tree(experience.free[usize(round_.chosen.free)], tree, depths, result);
  round_.riders_drafted ? experience.riders.learn(round_.riders_gain) : experience.riders.forget();
  if (round_.drafted_depth > 0) learn_pass(experience.pass[usize(round_.asked_pass)], tree, depths, result);
}

// By what is known of its costs, so that what else the machine does is no part of it.
double Planner::seconds_of_round(const PassExperience& experience, const DraftTree& tree) const {
  return experience.costs.share(round_.drafted_depth, round_.drafters) +
         round_.load.costs->of(round_.load.rows + 1 + isize(tree));
}

// Of the drafter that was asked.
void Planner::learn_pass(PassExperience& experience, const DraftTree& tree, const std::vector<int>& depths,
                         const RoundResult& result) const {
  // A draft after a pause also runs what its drafter was shown meanwhile.
  const bool usual_cost = !pass_choice_.probing() || passes_[usize(round_.asked_pass)]->taps().empty();
  if (usual_cost && experience.costs.in_steps) {
    experience.costs.observe_steps(round_.drafted_depth, std::max(1, result.draft_sharers), result.draft_seconds);
  } else if (usual_cost) {
    experience.costs.observe(result.draft_rows > 0 ? result.draft_rows : round_.drafted_depth, result.draft_seconds);
  }
  const bool verified = round_.chosen.pass >= 0 && !tree.empty();
  if (verified) {
    learn_tree(experience.chances, tree, depths, result);
  } else if (!round_.drafted.empty()) {  // not verified: counts as what it was taken for
    experience.chances.learn_depth(0, experience.chances.chance(round_.drafted.front().probability, 0));
  }
  experience.chances.learn_undrafted(round_.drafted_depth);
  if (round_.promised <= 0) return experience.record.forget();  // a probe
  const double others = round_.load.tokens;
  experience.record.learn(round_.promised * seconds_of_round(experience, tree) - others,
                          1 + static_cast<double>(result.path.size()));
}

}  // namespace s3d
