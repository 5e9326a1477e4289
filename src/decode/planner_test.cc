#include "decode/planner.h"

#include <gtest/gtest.h>

#include "base/index.h"
#include "decode/sampler.h"

namespace s3d {
namespace {

using Drafters = std::vector<std::unique_ptr<Drafter>>;

// The curve of smollm2-135m on two Zen 3 cores, in one-row passes, and draft passes of 0.45 of it.
PassCosts real_costs() {
  PassCosts costs;
  costs.full = {0, 1, 1.08, 1.33, 1.59, 1.85, 2.31, 2.58, 2.80, 3.18, 3.26, 3.82, 3.94, 4.16, 4.57, 4.70, 5.09};
  for (size_t depth = 1; depth <= 4; ++depth) costs.draft[depth] = 0.45 * costs.full[depth];
  return costs;
}

DraftTree chain(int n, float probability) {
  DraftTree tree;
  for (int i = 0; i < n; ++i) tree.push_back({i, i - 1, probability});
  return tree;
}

TEST(SelectNodes, TakesWhatIsWorthARow) {
  const PassCosts costs = real_costs();
  EXPECT_TRUE(select_nodes(chain(4, 0), {0.01, 0.01, 0.01, 0.01}, costs, 0, 4).tree.empty());
  EXPECT_EQ(select_nodes(chain(4, 1), {0.99, 0.99, 0.99, 0.99}, costs, 0, 4).tree.size(), 4U);
  const Selection some = select_nodes(chain(4, 1), {0.9, 0.9, 0.05, 0.05}, costs, 0, 4);
  EXPECT_EQ(some.tree.size(), 2U);
  EXPECT_NEAR(some.tokens, 1 + 0.9 + 0.81, 1e-12);
  EXPECT_NEAR(some.rate, some.tokens / 1.33, 1e-12);
  EXPECT_EQ(select_nodes(chain(9, 1), std::vector<double>(9, 1.0), costs, 0, 3).tree.size(), 3U);
  EXPECT_TRUE(select_nodes({}, {}, costs, 0, 3).tree.empty());
}

TEST(SelectNodes, KeepsParentsAndRenumbersThem) {
  // Root children 0 (bad) and 1 (good); 2 is a child of 0, 3 of 1.
  const DraftTree tree = {{10, -1, 0}, {11, -1, 0}, {12, 0, 0}, {13, 1, 0}};
  const Selection s = select_nodes(tree, {0.02, 0.95, 0.9, 0.95}, real_costs(), 0, 4);
  ASSERT_EQ(s.tree.size(), 2U);
  EXPECT_EQ(s.tree[0].token, 11);
  EXPECT_EQ(s.tree[0].parent, -1);
  EXPECT_EQ(s.tree[1].token, 13);
  EXPECT_EQ(s.tree[1].parent, 0);
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
  costs.observe_full(2, 1000);
  EXPECT_LT(costs.of(2), 1.08 * 1.1);
  for (int i = 0; i < 400; ++i) costs.observe_full(2, 2 * 1.08);
  EXPECT_NEAR(costs.of(2), 2 * 1.08, 0.1);
  EXPECT_GT(costs.of(5), 1.85 * 1.1) << "a slower machine is slower for every width";
  EXPECT_EQ(costs.of(99), costs.of(16));
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
double simulate(Speculator& speculator, const ChanceDrafter& drafter, int rounds,
                const std::function<double(int, int)>& chance) {
  const PassCosts truth = real_costs();
  const std::vector<TokenId> text(10);
  double tokens = 0, time = 0;
  for (int round = 0; round < rounds; ++round) {
    DraftTree tree;
    const int before = drafter.drafts;
    EXPECT_TRUE(speculator.propose({.seq = 0, .tokens = text, .state = {}}, {.nodes = 15, .depth = 15}, tree).ok());
    RoundResult result;
    result.draft_seconds = drafter.drafts > before ? truth.draft[drafter.depth] : 0;
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
  const PassCosts costs = real_costs();
  double best = 1, tokens = 1, path = 1;
  for (int n = 1; n <= depth; ++n) {
    path *= chance(n - 1);
    tokens += path;
    best = std::max(best, tokens / (costs.draft[n] + costs.of(n + 1)));
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
  experience->costs = real_costs();
  return {raw, std::make_unique<Planner>(Drafters{}, std::move(drafter), std::move(experience))};
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
    experience->costs = real_costs();
    const auto speculator = std::make_unique<Planner>(Drafters{}, std::make_unique<ChanceDrafter>(4), experience);
    const std::vector<TokenId> text(10);
    DraftTree tree;
    EXPECT_TRUE(speculator->propose({.seq = 0, .tokens = text, .state = {}}, {.nodes = 15, .depth = 15}, tree).ok());
    EXPECT_GT(tree.size(), 1U);
    speculator->learn(tree, {.path = {0}, .finished = finished});
    return std::pair(experience->pass.chance(tree[1].probability, 1), experience->pass.chance_at(1));
  };
  const auto [node, depth] = chance_after(true);
  EXPECT_EQ(node, Calibration().chance(ChanceDrafter::kProbability, 1));
  EXPECT_GT(node, chance_after(false).first);
  EXPECT_GT(depth, chance_after(false).second);
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
