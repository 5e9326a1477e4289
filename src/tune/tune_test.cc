#include "tune/tune.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "tune/measure.h"

namespace s3d::tune {
namespace {

// A model of 20 layers whose untrained drafts follow the law with u = 1, and whose adapter of 2+6 layers has u - 3.
Evidence made_up(double count) {
  Evidence evidence;
  evidence.n_layers = 20;
  evidence.costs.full = PassCosts::through(std::array<PassCosts::Point, 2>{{{1, 1}, {11, 2}}});
  for (int rows = 0; rows <= kMostMasks + 1; ++rows) {
    evidence.costs.head.push_back(0.05 + 0.02 * rows);
    evidence.costs.layer.push_back(0.04);
  }
  evidence.skips = untrained_plans(20);
  for (SkipRate& skip : evidence.skips) skip.rate = {acceptance(skip.layers.count() / 20.0, 1), count};
  const double right = acceptance(0.4, -2);
  evidence.open = {.name = "s3d", .layers = {2, 6}, .fused = false, .rates = {{right, count}, {right, count}}};
  evidence.open_draft_seconds = {0.3, 0.32};
  evidence.usual_fused = {0.3};
  evidence.plain_tps = 1;
  return evidence;
}

TEST(TuneTest, TheLawsThatMadeTheEvidenceComeBack) {
  const Laws laws = fit_laws(made_up(1000));
  for (const Laws::Split& split : laws.splits) EXPECT_NEAR(split.u, 1, 1e-3);
  ASSERT_EQ(laws.trained.size(), 2U);
  EXPECT_NEAR(laws.trained[0], -3, 1e-2);
  // The second draft was right as often as the first, more often than masks that run through all layers: no number of
  // layers is expected to give more.
  EXPECT_NEAR(laws.ceiling[1], acceptance(0.4, -2), 1e-12);
  EXPECT_NEAR(laws.rates({1, 17}, 20, 2)[1], acceptance(0.4, -2), 1e-3);
  EXPECT_GT(laws.rates({1, 17}, 20, 1)[0], 0.9);
  EXPECT_EQ(laws.fused, std::vector<double>{0.3});
}

TEST(TuneTest, TheOpenDrafterIsPredictedFromItsOwnRates) {
  const Prediction prediction = predict(made_up(1000));
  const double right = acceptance(0.4, -2);
  EXPECT_EQ(prediction.open.depth, 2);
  EXPECT_NEAR(prediction.open.tps, (1 + right + right * right) / (0.32 + 1.2), 1e-9);
  EXPECT_EQ(prediction.open_tps.value, prediction.open.tps);
  EXPECT_EQ(prediction.scatter, 1);
}

TEST(TuneTest, MoreDraftsMakeSmallerErrors) {
  const Prediction few = predict(made_up(50)), many = predict(made_up(5000));
  EXPECT_GT(few.open_tps.error, 0);
  EXPECT_LT(many.open_tps.error, few.open_tps.error / 5);
  EXPECT_LT(many.best_tps.error, few.best_tps.error / 5);
  EXPECT_EQ(predict(made_up(50)).best_tps.error, few.best_tps.error);  // the same evidence, the same draws
}

TEST(TuneTest, TheBestPlanBeatsTheOpenOneOrIsIt) {
  const Prediction prediction = predict(made_up(1000));
  EXPECT_GE(prediction.best_tps.value, prediction.open.tps * 0.99);
  for (const PlanValue& value : prediction.plans) EXPECT_LE(value.tps, prediction.best_tps.value);
}

TEST(TuneTest, WithoutATrainedDrafterThereIsALawToo) {
  Evidence evidence = made_up(1000);
  evidence.open.reset();
  evidence.open_draft_seconds.clear();
  evidence.usual_trained = {-2, -1};
  const Prediction prediction = predict(evidence);
  EXPECT_EQ(prediction.laws.trained, (std::vector<double>{-2, -1}));
  EXPECT_EQ(prediction.open.depth, 0);
  EXPECT_FALSE(prediction.plans.empty());
}

TEST(TuneTest, ATrainingOfAFusedAdapterReplacesWhatIsUsual) {
  Evidence evidence = made_up(1000);
  evidence.trainings.push_back({.name = "f.csv", .layers = {}, .fused = true, .rates = {{0.8, 500}, {0.7, 400}}});
  EXPECT_EQ(fit_laws(evidence).fused, (std::vector<double>{0.8, 0.7}));
}

TEST(TuneTest, UntrainedPlansFitTheModel) {
  for (const int n : {2, 3, 7, 30}) {
    const std::vector<SkipRate> plans = untrained_plans(n);
    EXPECT_FALSE(plans.empty()) << n;
    for (const SkipRate& plan : plans) {
      EXPECT_GE(plan.layers.count(), 1);
      EXPECT_LT(plan.layers.count(), n);
    }
  }
  EXPECT_TRUE(untrained_plans(1).empty());
  EXPECT_EQ(untrained_plans(30).size(), 9U);
}

}  // namespace
}  // namespace s3d::tune
