#include "tune/plan_value.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace s3d::tune {
namespace {

// T(n) = 1 + 0.1 (n - 1); a draft pass costs 0.1 a row and 0.05 for each layer.
Costs simple_costs() {
  Costs costs;
  costs.full = PassCosts::through(std::array<PassCosts::Point, 2>{{{1, 1}, {11, 2}}});
  for (int rows = 0; rows <= 8; ++rows) {
    costs.head.push_back(0.1 * rows);
    costs.layer.push_back(0.05);
  }
  return costs;
}

TEST(PlanValueTest, TheDepthIsWhatGivesMostTokensASecond) {
  const Costs costs = simple_costs();
  const std::vector<double> draft = {0.2, 0.3, 0.4};
  const PlanValue value = best_depth(costs, {0.9, 0.9, 0.1}, draft);
  EXPECT_EQ(value.depth, 2);
  EXPECT_NEAR(value.tokens, 1 + 0.9 + 0.81, 1e-12);
  EXPECT_NEAR(value.seconds, 0.3 + 1.2, 1e-12);
  EXPECT_NEAR(value.tps, 2.71 / 1.5, 1e-12);
}

TEST(PlanValueTest, NoDraftWhereNoneIsRight) {
  const PlanValue value = best_depth(simple_costs(), {0.05, 0.05}, {0.2, 0.3});
  EXPECT_EQ(value.depth, 0);
  EXPECT_NEAR(value.tps, 1, 1e-12);
}

TEST(PlanValueTest, DraftsOnTextsAreSlowerThanAlone) {
  Costs costs = simple_costs();
  costs.context = 2;
  costs.rest = 0.5;
  const PlanValue value = best_depth(costs, {0.9}, {0.2});
  EXPECT_EQ(value.depth, 1);
  EXPECT_NEAR(value.seconds, 2 * 0.2 + 1.1 + 0.5, 1e-12);
}

TEST(PlanValueTest, PassesOnTextsGoThroughWhatWasSeen) {
  const PassCosts alone = simple_costs().full;
  const PassCosts texts =
      in_texts(alone, {{.rows = 1, .seconds = 1.5}, {.rows = 2, .seconds = 2.2}, {.rows = 5, .seconds = 4.2}});
  EXPECT_NEAR(texts.of(1), 1.5, 1e-12);
  EXPECT_NEAR(texts.of(2), 2.2, 1e-12);                  // twice as long as alone
  EXPECT_NEAR(texts.of(3), 1.2 * (2 + 1.0 / 3), 1e-12);  // a third of the way to three times
  EXPECT_NEAR(texts.of(5), 4.2, 1e-12);
  EXPECT_NEAR(texts.of(11), 6, 1e-12);
  EXPECT_NEAR(in_texts(alone, {{.rows = 1, .seconds = 3}}).of(11), 6, 1e-12);
}

TEST(PlanValueTest, ANarrowPassThatWasDisturbedTakesNoMoreThanAWiderOne) {
  const PassCosts texts = in_texts(
      simple_costs().full, {{.rows = 1, .seconds = 4}, {.rows = 2, .seconds = 2.2}, {.rows = 5, .seconds = 2.8}});
  EXPECT_NEAR(texts.of(1), 2.2, 1e-12);
  EXPECT_NEAR(texts.of(2), 2.2, 1e-12);
  EXPECT_NEAR(texts.of(5), 2.8, 1e-12);
}

TEST(PlanValueTest, MasksThatRideCostRowsAndTheirLora) {
  Costs costs = simple_costs();
  costs.riders = 0.2;
  const PlanValue value = fused_value(costs, {0.5, 0.4});
  EXPECT_EQ(value.depth, 2);
  EXPECT_NEAR(value.tokens, 1 + 0.5 + 0.2, 1e-12);
  EXPECT_NEAR(value.seconds, 2, 1e-12);  // nine rows are 1.8
}

TEST(PlanValueTest, LawsOfSplitsAreJoinedByLines) {
  const Laws laws = {.splits = {{.share = 0.25, .u = -2}, {.share = 0.5, .u = -1}},
                     .trained = {-1, -3},
                     .ceiling = {1, 0.5},
                     .fused = {}};
  EXPECT_NEAR(laws.u(0.375), -1.5, 1e-12);
  EXPECT_NEAR(laws.u(0), -2, 1e-12);
  EXPECT_NEAR(laws.u(1), -1, 1e-12);
  const std::vector<double> rates = laws.rates({3, 3}, 10, 3);
  EXPECT_NEAR(rates[0], acceptance(0.6, -2), 1e-12);
  EXPECT_NEAR(rates[1], 0.5 * acceptance(0.6, -4), 1e-12);
  EXPECT_EQ(rates[1], rates[2]);  // deeper ones as the last that is known
}

TEST(PlanValueTest, AllPlansHaveTheirPlaceAndTheBestIsFirst) {
  const Laws laws = {
      .splits = {{.share = 0.25, .u = -3}, {.share = 0.5, .u = -3}}, .trained = {}, .ceiling = {}, .fused = {0.9, 0.9}};
  const std::vector<PlanValue> plans = all_plans(simple_costs(), laws, 12, 7);
  double last = 1e9;
  int fused = 0;
  for (const PlanValue& value : plans) {
    EXPECT_LE(value.tps, last);
    last = value.tps;
    fused += value.plan.fused ? 1 : 0;
    if (value.plan.fused) continue;
    EXPECT_GE(4 * value.plan.layers.first, value.plan.layers.count());
    EXPECT_LE(2 * value.plan.layers.first, value.plan.layers.count());
    EXPECT_LE(value.plan.masks, 7);
  }
  EXPECT_EQ(fused, 2);
  EXPECT_GT(plans.size(), 10U);
}

}  // namespace
}  // namespace s3d::tune
