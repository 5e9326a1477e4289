#include "tune/acceptance_law.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace s3d::tune {
namespace {

TEST(AcceptanceLawTest, GoesFromNothingToAll) {
  for (const double u : {-20.0, -2.0, 0.0, 1e-12, 3.0, 20.0}) {
    EXPECT_NEAR(acceptance(0, u), 0, 1e-12) << u;
    EXPECT_NEAR(acceptance(1, u), 1, 1e-12) << u;
    EXPECT_LT(acceptance(0.3, u), acceptance(0.4, u)) << u;
  }
  EXPECT_NEAR(acceptance(0.4, 0), 0.4, 1e-12);
  // (1 - U^β) / (1 - U) at U = 0.25, β = 0.5.
  EXPECT_NEAR(acceptance(0.5, std::log(0.25)), 0.5 / 0.75, 1e-12);
}

TEST(AcceptanceLawTest, TheFitFindsTheLawThatMadeThePoints) {
  for (const double u : {-6.0, -1.5, 0.0, 2.0}) {
    std::array<RatePoint, 3> points;
    for (size_t i = 0; i < points.size(); ++i) {
      const double beta = 0.2 + 0.2 * static_cast<double>(i);
      points[i] = {.beta = beta, .rate = acceptance(beta, u), .count = 500};
    }
    EXPECT_NEAR(fit_law(points), u, 1e-4);
    EXPECT_EQ(scatter(points, u), 1);
  }
}

TEST(AcceptanceLawTest, PointsOfManyDraftsWeighMore) {
  const std::array<RatePoint, 2> points = {{{.beta = 0.4, .rate = 0.6, .count = 10000}, {0.4, 0.2, 1}}};
  EXPECT_NEAR(acceptance(0.4, fit_law(points)), 0.6, 0.001);
}

TEST(AcceptanceLawTest, WhatIsFittedIsAddedToWhatIsKnown) {
  const std::array<RatePoint, 2> points = {{{.beta = 0.3, .rate = acceptance(0.3, -4), .count = 100, .u = -1},
                                            {.beta = 0.5, .rate = acceptance(0.5, -2), .count = 100, .u = 1}}};
  EXPECT_NEAR(fit_law(points), -3, 1e-4);
}

TEST(AcceptanceLawTest, PointsThatNoLawMeetsScatter) {
  const std::array<RatePoint, 2> points = {{{.beta = 0.2, .rate = 0.7, .count = 400}, {0.5, 0.3, 400}}};
  EXPECT_GT(scatter(points, fit_law(points)), 10);
}

TEST(AcceptanceLawTest, AlwaysRightAndNeverRightHaveAnEnd) {
  const std::array<RatePoint, 1> never = {{{.beta = 0.4, .rate = 0, .count = 50}}};
  EXPECT_LT(acceptance(0.4, fit_law(never)), 0.001);
  const std::array<RatePoint, 1> always = {{{.beta = 0.4, .rate = 1, .count = 50}}};
  EXPECT_GT(acceptance(0.4, fit_law(always)), 0.999);
}

}  // namespace
}  // namespace s3d::tune
