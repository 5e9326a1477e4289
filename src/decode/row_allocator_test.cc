#include "decode/row_allocator.h"

#include <gtest/gtest.h>

#include <array>

#include "base/index.h"
#include "decode/draft_choice.h"
#include "decode/sampler.h"

namespace s3d {
namespace {

// One row costs 1, each further one `slope`.
PassCosts line(double slope) {
  return PassCosts::through(std::array<PassCosts::Point, 2>{{{1, 1}, {2, 1 + slope}}});
}

std::vector<RowGrant> allocate(const std::vector<RowWish>& wishes, const PassCosts& costs, const RowLimits& limits) {
  return allocate_rows(wishes, costs, limits);
}

TEST(AllocateRows, TheLikeliestNodesOfAllSequencesAreTakenWhileTheyPay) {
  const std::vector<double> sure = {0.9, 0.8, 0.7}, doubtful = {0.5, 0.2};
  // Two tokens for 1.1 without drafts. A node pays while p > tokens / seconds * 0.1.
  const auto grants = allocate({{.paths = sure}, {.paths = doubtful}}, line(0.1), {.rows = 16});
  EXPECT_EQ(grants[0].nodes, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(grants[1].nodes, (std::vector<int>{0}));
  const auto dear = allocate({{.paths = sure}, {.paths = doubtful}}, line(0.95), {.rows = 16});
  EXPECT_TRUE(dear[0].nodes.empty());
  EXPECT_TRUE(dear[1].nodes.empty());
}

TEST(AllocateRows, AStepOfTheCurveIsClimbedIfItPaysInTheEnd) {
  // The second row is dear, the next four are free.
  const PassCosts costs = PassCosts::through(std::array<PassCosts::Point, 4>{{{1, 1}, {2, 2}, {6, 2}, {7, 9}}});
  const std::vector<double> paths = {0.8, 0.7, 0.6, 0.5, 0.4, 0.3};
  EXPECT_EQ(allocate({{.paths = paths}}, costs, {.rows = 16})[0].nodes.size(), 5U);
  const std::vector<double> few = {0.8};
  EXPECT_TRUE(allocate({{.paths = few}}, costs, {.rows = 16})[0].nodes.empty());
}

TEST(AllocateRows, WhatWasSpentOnDraftsMakesRowsWorthMore) {
  const std::vector<double> paths = {0.3};
  EXPECT_TRUE(allocate({{.paths = paths}}, line(0.35), {.rows = 16})[0].nodes.empty());
  EXPECT_EQ(allocate({{.paths = paths}}, line(0.35), {.rows = 16, .spent_seconds = 0.5})[0].nodes.size(), 1U);
}

// With one sequence the allocator is the planner's own rule.
TEST(AllocateRows, WithOneSequenceItIsThePlannersChoice) {
  for (int seed = 0; seed < 300; ++seed) {
    auto random = [&, n = 0]() mutable { return keyed_uniform(5, static_cast<uint64_t>(seed), n++); };
    DraftTree tree;
    std::vector<double> chances;
    for (int i = 0; i < 12; ++i) {
      const int parent = static_cast<int>(random() * (i + 1)) - 1;
      tree.push_back({i, parent, 0});
      chances.push_back(random());
    }
    std::vector<PassCosts::Point> points;
    double seconds = 1;
    for (int n = 1; n <= 16; ++n) points.push_back({n, seconds += random() * random() * 0.5});
    const PassCosts costs = PassCosts::through(points);
    const double spent = random() < 0.5 ? 0 : random();
    const Selection best = select_nodes(tree, chances, {.costs = &costs}, spent, 12);
    const std::vector<double> paths = path_chances(tree, chances);
    const auto grants = allocate({{.paths = paths}}, costs, {.rows = 13, .spent_seconds = spent});
    ASSERT_EQ(grants[0].nodes.size(), best.tree.size()) << seed;
    for (size_t i = 0; i < best.tree.size(); ++i) {
      EXPECT_EQ(tree[usize(grants[0].nodes[i])].token, best.tree[i].token) << seed;
    }
  }
}

TEST(AllocateRows, ParentsComeWithTheirChildren) {
  for (int seed = 0; seed < 100; ++seed) {
    auto random = [&, n = 0]() mutable { return keyed_uniform(6, static_cast<uint64_t>(seed), n++); };
    std::vector<DraftTree> trees(4);
    std::vector<std::vector<double>> paths;
    std::vector<RowWish> wishes;
    for (DraftTree& tree : trees) {
      std::vector<double> chances;
      for (int i = 0; i < 10; ++i) {
        tree.push_back({i, static_cast<int>(random() * (i + 1)) - 1, 0});
        chances.push_back(random() < 0.3 ? 1 : random());
      }
      paths.push_back(path_chances(tree, chances));
    }
    for (const std::vector<double>& of : paths) wishes.push_back({.paths = of});
    const auto grants = allocate(wishes, line(0.15), {.rows = 4 + seed % 40});
    int rows = 4;
    for (size_t s = 0; s < trees.size(); ++s) {
      std::vector<bool> taken(10);
      for (const int node : grants[s].nodes) {
        const int parent = trees[s][usize(node)].parent;
        EXPECT_TRUE(parent < 0 || taken[usize(parent)]) << seed;
        taken[usize(node)] = true;
        ++rows;
      }
    }
    EXPECT_LE(rows, 4 + seed % 40);
  }
}

TEST(AllocateRows, WholeDraftsAreTakenAsFarAsThereIsRoom) {
  const auto grants = allocate({{.whole_draft = 5}, {.whole_draft = 9}}, line(9), {.rows = 12});
  EXPECT_EQ(grants[0].nodes.size(), 5U);
  EXPECT_EQ(grants[1].nodes, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(AllocateRows, PromptsFillThePassUpToItsTime) {
  const RowLimits limits = {.rows = 256, .step_seconds = 4.05};
  EXPECT_EQ(allocate({{.prompt_rows = 500}}, line(0.1), limits)[0].prompt_rows, 256) << "nobody waits";
  EXPECT_EQ(allocate({{}, {.prompt_rows = 500}}, line(0.1), limits)[1].prompt_rows, 30);
  EXPECT_EQ(allocate({{}, {.prompt_rows = 500}}, line(2), limits)[1].prompt_rows, 16) << "never nothing";
  EXPECT_EQ(allocate({{}, {.prompt_rows = 500}}, line(2), {.rows = 10, .step_seconds = 4})[1].prompt_rows, 9);
  EXPECT_EQ(allocate({{}, {.prompt_rows = 500}}, line(2), {.rows = 256})[1].prompt_rows, 255) << "no limit";
  EXPECT_EQ(allocate({{}, {.prompt_rows = 500}}, PassCosts(), limits)[1].prompt_rows, 255) << "nothing is known";
}

TEST(AllocateRows, ShortPromptsGoFirstButNoneWaitsForEver) {
  const RowLimits limits = {.rows = 40};
  auto grants = allocate({{.prompt_rows = 300}, {.prompt_rows = 30}}, line(0.1), limits);
  EXPECT_EQ(grants[0].prompt_rows, 10);
  EXPECT_EQ(grants[1].prompt_rows, 30);
  grants = allocate({{.prompt_rows = 300, .waited = 17}, {.prompt_rows = 30}}, line(0.1), limits);
  EXPECT_EQ(grants[0].prompt_rows, 40);
  EXPECT_EQ(grants[1].prompt_rows, 0);
}

TEST(AllocateRows, DraftsLeaveRoomForPrompts) {
  const auto grants = allocate({{.whole_draft = 60}, {.prompt_rows = 100}}, line(0.1), {.rows = 40});
  EXPECT_EQ(grants[0].nodes.size(), 23U);
  EXPECT_EQ(grants[1].prompt_rows, 16);
}

}  // namespace
}  // namespace s3d
