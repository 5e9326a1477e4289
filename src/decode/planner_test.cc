#include "decode/planner.h"

#include <gtest/gtest.h>

#include "base/index.h"
#include "decode/draft_choice.h"
#include "decode/row_allocator.h"
#include "decode/sampler.h"

namespace s3d {
namespace {

using Drafters = std::vector<std::unique_ptr<Drafter>>;

// The curve of smollm2-135m on two Zen 3 cores, in one-row passes, and draft passes of 0.45 of it.
const PassCosts& real_costs() {
  static const PassCosts kCosts = [] {
    const std::vector<double> seconds = {1,    1.08, 1.33, 1.59, 1.85, 2.31, 2.58, 2.80,
                                         3.18, 3.26, 3.82, 3.94, 4.16, 4.57, 4.70, 5.09};
    std::vector<PassCosts::Point> points;
    for (size_t i = 0; i < seconds.size(); ++i) points.push_back({static_cast<int>(i) + 1, seconds[i]});
    return PassCosts::through(points);
  }();
  return kCosts;
}
DraftCosts draft_costs() {
  DraftCosts costs;
  for (int depth = 1; depth <= 4; ++depth) costs.seconds[usize(depth)] = 0.45 * real_costs().of(depth);
  return costs;
}
RoundLoad alone() {
  return {.costs = &real_costs()};
}

DraftTree chain(int n, float probability) {
  DraftTree tree;
  for (int i = 0; i < n; ++i) tree.push_back({i, i - 1, probability});
  return tree;
}

TEST(SelectNodes, TakesWhatIsWorthARow) {
  EXPECT_TRUE(select_nodes(chain(4, 0), {0.01, 0.01, 0.01, 0.01}, alone(), 0, 4).tree.empty());
  EXPECT_EQ(select_nodes(chain(4, 1), {0.99, 0.99, 0.99, 0.99}, alone(), 0, 4).tree.size(), 4U);
  const Selection some = select_nodes(chain(4, 1), {0.9, 0.9, 0.05, 0.05}, alone(), 0, 4);
  EXPECT_EQ(some.tree.size(), 2U);
  EXPECT_NEAR(some.tokens, 1 + 0.9 + 0.81, 1e-12);
  EXPECT_NEAR(some.rate, some.tokens / 1.33, 1e-12);
  EXPECT_EQ(select_nodes(chain(9, 1), std::vector<double>(9, 1.0), alone(), 0, 3).tree.size(), 3U);
  EXPECT_TRUE(select_nodes({}, {}, alone(), 0, 3).tree.empty());
}

// Rows that others have in the pass make the next ones dearer or cheaper, and their tokens wait for them.
TEST(SelectNodes, LooksAtTheOthersInThePass) {
  const RoundLoad crowd = {.costs = &real_costs(), .rows = 7, .tokens = 7};
  EXPECT_EQ(select_nodes(chain(1, 1), {0.5}, alone(), 0, 1).tree.size(), 1U);
  EXPECT_EQ(select_nodes(chain(1, 1), {0.5}, crowd, 0, 1).tree.size(), 0U);
  const Selection sure = select_nodes(chain(2, 1), {1, 1}, crowd, 0, 2);
  EXPECT_EQ(sure.tree.size(), 2U);
  EXPECT_NEAR(sure.rate, (7 + 3) / 3.26, 1e-12);
}

TEST(SelectNodes, KeepsParentsAndRenumbersThem) {
  // Root children 0 (bad) and 1 (good); 2 is a child of 0, 3 of 1.
  const DraftTree tree = {{10, -1, 0}, {11, -1, 0}, {12, 0, 0}, {13, 1, 0}};
  const Selection s = select_nodes(tree, {0.02, 0.95, 0.9, 0.95}, alone(), 0, 4);
  ASSERT_EQ(s.tree.size(), 2U);
  EXPECT_EQ(s.tree[0].token, 11);
  EXPECT_EQ(s.tree[0].parent, -1);
  EXPECT_EQ(s.tree[1].token, 13);
  EXPECT_EQ(s.tree[1].parent, 0);
}

TEST(Calibration, BeginsWithWhatWasMeasuredAndGoesOnLearning) {
  Calibration calibration;
  const std::vector<double> chances = {0.9, 0.2};
  calibration.begin_with(chances);
  EXPECT_NEAR(calibration.chance_at(0), 0.9, 0.1);
  EXPECT_NEAR(calibration.chance_at(1), 0.2, 0.1);
  EXPECT_NEAR(calibration.chance_at(9), 0.2, 0.1) << "deeper ones as the last that is known";
  for (int i = 0; i < 100; ++i) calibration.learn_depth(0, 0);
  EXPECT_LT(calibration.chance_at(0), 0.2);
  calibration.begin_with({});
  EXPECT_LT(calibration.chance_at(0), 0.2) << "nothing is known";
}

TEST(Calibration, LearnsThatADrafterIsTooSure) {
  Calibration calibration;
  EXPECT_NEAR(calibration.chance(0.95F, 0), 0.855, 1e-6);
  for (int i = 0; i < 300; ++i) calibration.learn(0.95F, 0, i % 4 == 0);
  EXPECT_NEAR(calibration.chance(0.95F, 0), 0.25, 0.05);
  EXPECT_GT(calibration.chance(0.95F, 1), 0.8) << "other depths are not touched";
  for (int i = 0; i < 100; ++i) calibration.learn_depth(2, 0);
  EXPECT_LT(calibration.chance_at(2), 0.1);
  EXPECT_NEAR(calibration.chance_at(15), 0.5, 0.2);
}

TEST(PassCosts, FollowTheMachineButNotAnOutlier) {
  PassCosts costs = real_costs();
  costs.observe(2, 1000);
  EXPECT_LT(costs.of(2), 1.08 * 1.1);
  for (int i = 0; i < 400; ++i) costs.observe(2, 2 * 1.08);
  EXPECT_NEAR(costs.of(2), 2 * 1.08, 0.1);
  EXPECT_GT(costs.of(5), 1.85 * 1.1) << "a slower machine is slower for every width";
}

// A server sees passes of eight rows all day, and never one of nine: that one must not seem free, or dear.
TEST(PassCosts, NeighboursOfWhatIsSeenFollowIt) {
  PassCosts costs = real_costs();
  const double before = (costs.of(9) - costs.of(8)) / costs.of(8);
  for (int i = 0; i < 200; ++i) costs.observe(8, 1.5 * real_costs().of(8));
  EXPECT_NEAR(costs.of(8), 1.5 * real_costs().of(8), 0.01 * costs.of(8));
  const double after = (costs.of(9) - costs.of(8)) / costs.of(8);
  EXPECT_GT(after, 0.6 * before);
  EXPECT_LT(after, 1.1 * before);
}

TEST(PassCosts, AreStraightBetweenAndBehindWhatWasMeasured) {
  const std::vector<PassCosts::Point> points = {{1, 1}, {2, 1.5}, {10, 3.5}};
  const PassCosts costs = PassCosts::through(points);
  EXPECT_TRUE(costs.measured);
  EXPECT_DOUBLE_EQ(costs.of(1), 1);
  EXPECT_DOUBLE_EQ(costs.of(2), 1.5);
  EXPECT_DOUBLE_EQ(costs.of(6), 2.5);
  EXPECT_DOUBLE_EQ(costs.of(256), 3.5 + 246 * 0.25);
  EXPECT_DOUBLE_EQ(costs.of(300), 3.5 + 290 * 0.25);
}

TEST(PassCosts, LearnFromNothing) {
  PassCosts costs;
  EXPECT_FALSE(costs.known());
  costs.observe(200, 2);
  EXPECT_TRUE(costs.known());
  EXPECT_DOUBLE_EQ(costs.of(200), 2);
  for (int i = 0; i < 200; ++i) costs.observe(200, 2), costs.observe(1, 0.5);
  EXPECT_NEAR(costs.of(200), 2, 0.2);
  EXPECT_NEAR(costs.of(1), 0.5, 0.05);
}

TEST(DraftCosts, AreSharedByThoseWhoDraftTogether) {
  DraftCosts costs = draft_costs();
  EXPECT_DOUBLE_EQ(costs.share(4, 1), 0.45 * 1.59);
  EXPECT_DOUBLE_EQ(costs.share(2, 2), 0.45 * 1.59 / 2);
  EXPECT_NEAR(costs.of(7), 0.45 * (1.59 + 3 * 0.59 / 3), 1e-12) << "behind what was measured a straight line";
  EXPECT_EQ(DraftCosts().of(3), 0);
  for (int i = 0; i < 400; ++i) costs.observe(8, 0.9);
  EXPECT_NEAR(costs.of(8), 0.9, 0.05);
}

// Who runs a pass for each depth shares each of them: k sequences do not take as long as one with k times the depth.
TEST(DraftCosts, OfStepsAreSharedStepByStep) {
  DraftCosts costs = draft_costs();
  costs.in_steps = true;
  EXPECT_DOUBLE_EQ(costs.share(3, 1), costs.of(3));
  EXPECT_DOUBLE_EQ(costs.share(3, 4), costs.of(3) * (1 + 3 * costs.sharer) / 4);
  const double alone = costs.of(3);
  for (int i = 0; i < 200; ++i) costs.observe_steps(3, 4, alone * 2.2);
  EXPECT_NEAR(costs.sharer, 0.4, 1e-3);
  EXPECT_EQ(costs.of(3), alone) << "what others add says nothing of one alone";
  costs.observe_steps(3, 1, alone * 1.5);
  EXPECT_GT(costs.of(3), alone);
}

// A drafter of a pass whose tokens are right with a fixed chance for each depth; says nothing true of itself.
class ChanceDrafter : public Drafter {
 public:
  static constexpr float kProbability = 0.7F;
  explicit ChanceDrafter(int depth) : depth_(depth) {}
  std::string_view name() const override { return "chance"; }
  int max_depth() const override { return depth_; }
  bool needs_pass() const override { return true; }
  size_t extra_bytes() const override { return 0; }
  Status draft(const DraftInput&, const DraftLimits& limits, DraftTree& tree) override {
    tree = chain(std::min(limits.nodes, limits.depth), kProbability);
    ++drafts;
    depth = limits.depth;
    return Ok();
  }
  int drafts = 0;
  int depth = 0;  // of the last draft

 private:
  int depth_;
};

// Tokens for each unit of time over `rounds` rounds; chance(round, depth) is the truth.
// What one sequence alone has verified of a proposal.
DraftTree granted(const Proposal& proposal, double spent_seconds) {
  if (proposal.chances.empty()) return proposal.tree;
  const std::vector<double> paths = path_chances(proposal.tree, proposal.chances);
  const RowWish wish = {.paths = paths};
  const auto grants = allocate_rows({&wish, 1}, real_costs(), {.rows = 16, .spent_seconds = spent_seconds});
  Proposal kept = proposal;
  keep_nodes(kept, grants[0].nodes);
  return kept.tree;
}

double simulate(Speculator& speculator, const ChanceDrafter& drafter, int rounds,
                const std::function<double(int, int)>& chance) {
  const PassCosts& truth = real_costs();
  const DraftCosts drafts = draft_costs();
  const std::vector<TokenId> text(10);
  double tokens = 0, time = 0;
  for (int round = 0; round < rounds; ++round) {
    Proposal proposal;
    const int before = drafter.drafts;
    EXPECT_TRUE(speculator.propose({.tokens = text}, {.nodes = 15, .depth = 15}, alone(), proposal).ok());
    RoundResult result;
    result.draft_seconds = drafter.drafts > before ? drafts.of(drafter.depth) : 0;
    const DraftTree tree = granted(proposal, result.draft_seconds);
    result.verify_rows = 1 + isize(tree);
    result.verify_seconds = truth.of(result.verify_rows);
    for (size_t d = 0; d < tree.size(); ++d) {
      if (keyed_uniform(1, static_cast<uint64_t>(round), static_cast<int>(d)) >= chance(round, static_cast<int>(d)))
        break;
      result.path.push_back(static_cast<int>(d));
    }
    speculator.learn(tree, result);
    tokens += 1 + static_cast<double>(result.path.size());
    time += result.draft_seconds + result.verify_seconds;
  }
  return tokens / time;
}

double best_fixed(const std::function<double(int)>& chance, int depth) {
  const PassCosts& costs = real_costs();
  double best = 1, tokens = 1, path = 1;
  for (int n = 1; n <= depth; ++n) {
    path *= chance(n - 1);
    tokens += path;
    best = std::max(best, tokens / (draft_costs().of(n) + costs.of(n + 1)));
  }
  return best;
}

struct Planned {
  ChanceDrafter* drafter;
  std::unique_ptr<Speculator> speculator;
};
Planned planned() {
  auto drafter = std::make_unique<ChanceDrafter>(4);
  ChanceDrafter* raw = drafter.get();
  auto experience = std::make_shared<Experience>();
  experience->pass.push_back({.costs = draft_costs(), .chances = {}, .record = {}});
  return {raw, std::make_unique<Planner>(Drafters{}, std::move(drafter), std::move(experience))};
}

// Probes in 2,000 rounds of a drafter that is right in six rounds of ten and promises `rate`, where 1 is plain
// decoding.
int probes(double rate, int sequences) {
  DraftGate gate;
  int count = 0;
  for (int round = 0; round < 2000; ++round) {
    if (gate.is_worth(rate, 1) || !gate.wants_probe(1, 1, sequences)) continue;
    ++count;
    gate.learn_probe(count % 5 < 3);
  }
  return count;
}

TEST(DraftGate, ProbesOfUsualLuckDoNotKeepThemselvesGoing) {
  EXPECT_GT(probes(0.9, 1), 10);
  EXPECT_LT(probes(0.9, 1), 80);
  EXPECT_LT(probes(0.9, 8), 25);
  EXPECT_GT(probes(0.99, 1), 150) << "a little more and it would be worth it";
}

TEST(Planner, CostsLittleWhereDraftsFail) {
  const Planned p = planned();
  EXPECT_GT(simulate(*p.speculator, *p.drafter, 2000, [](int, int) { return 0.02; }), 0.98);
}

TEST(Planner, ComesCloseToTheBestFixedChoice) {
  for (const double chance : {0.5, 0.65, 0.8, 0.95}) {
    const Planned p = planned();
    const double rate = simulate(*p.speculator, *p.drafter, 3000, [chance](int, int) { return chance; });
    EXPECT_GT(rate, 0.95 * best_fixed([chance](int) { return chance; }, 4)) << chance;
  }
}

// An answer that ends with an accepted token says nothing of the drafts after it: as if they had not been made.
TEST(Planner, LearnsNothingFromWhatWasNotCompared) {
  const auto chance_after = [](bool finished) {
    auto experience = std::make_shared<Experience>();
    experience->pass.push_back({.costs = draft_costs(), .chances = {}, .record = {}});
    const auto speculator = std::make_unique<Planner>(Drafters{}, std::make_unique<ChanceDrafter>(4), experience);
    const std::vector<TokenId> text(10);
    Proposal proposal;
    EXPECT_TRUE(speculator->propose({.tokens = text}, {.nodes = 15, .depth = 15}, alone(), proposal).ok());
    const DraftTree tree = granted(proposal, draft_costs().of(isize(proposal.tree)));
    EXPECT_GT(tree.size(), 1U);
    speculator->learn(tree, {.path = {0}, .finished = finished});
    return std::pair(experience->pass[0].chances.chance(tree[1].probability, 1),
                     experience->pass[0].chances.chance_at(1));
  };
  const auto [node, depth] = chance_after(true);
  EXPECT_EQ(node, Calibration().chance(ChanceDrafter::kProbability, 1));
  EXPECT_GT(node, chance_after(false).first);
  EXPECT_GT(depth, chance_after(false).second);
}

// Reads the states behind some layers, and keeps what it was shown.
class TappingDrafter : public ChanceDrafter {
 public:
  explicit TappingDrafter(std::vector<int> taps) : ChanceDrafter(1), taps_(std::move(taps)) {}
  std::span<const int> taps() const override { return taps_; }
  void observe(const CommittedRows& rows) override { seen.assign(rows.features.begin(), rows.features.end()); }
  std::vector<float> seen;

 private:
  std::vector<int> taps_;
};

TEST(Planner, ShowsEachDrafterTheLayersThatItReads) {
  Drafters passes;
  std::vector<TappingDrafter*> tapping;
  for (const std::vector<int>& taps : std::vector<std::vector<int>>{{2, 7}, {}, {4}, {2, 4, 7}}) {
    auto drafter = std::make_unique<TappingDrafter>(taps);
    tapping.push_back(drafter.get());
    passes.push_back(std::move(drafter));
  }
  Planner planner(Drafters{}, std::move(passes), std::make_shared<Experience>());
  EXPECT_EQ(std::vector<int>(planner.taps().begin(), planner.taps().end()), (std::vector<int>{2, 4, 7}));
  // Two rows, states of two numbers: layer, row.
  const std::vector<float> features = {2, 0, 4, 0, 7, 0, 2, 1, 4, 1, 7, 1};
  const std::vector<TokenId> text(3);
  planner.observe({.text = text, .first = 0, .count = 2, .features = features});
  EXPECT_EQ(tapping[0]->seen, (std::vector<float>{2, 0, 7, 0, 2, 1, 7, 1}));
  EXPECT_EQ(tapping[1]->seen, std::vector<float>{});
  EXPECT_EQ(tapping[2]->seen, (std::vector<float>{4, 0, 4, 1}));
  EXPECT_EQ(tapping[3]->seen, features);
}

TEST(Planner, RecoversWhenTheTextChanges) {
  const Planned p = planned();
  const auto late = [](int round, int) { return round < 1000 ? 0.02 : 0.9; };
  const double rate = simulate(*p.speculator, *p.drafter, 4000, late);
  const double good = best_fixed([](int) { return 0.9; }, 4);
  // 1,000 plain rounds of one token, then 3,000 good ones; at most a tenth of these is lost to noticing it.
  const double ideal = (1000 + 3000 * good) / 4000;
  EXPECT_GT(rate, 0.9 * std::min(ideal, good));
}

}  // namespace
}  // namespace s3d
