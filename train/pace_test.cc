#include "train/pace.h"

#include <gtest/gtest.h>

namespace s3d::train {
namespace {

TEST(Every, CountsStepsUnlessItIsGivenSeconds) {
  Every steps(3, 0);
  EXPECT_FALSE(steps.due(1, 1000));
  EXPECT_TRUE(steps.due(3, 0));
  EXPECT_TRUE(steps.due(6, 0));
  Every seconds(3, 10);
  EXPECT_FALSE(seconds.due(3, 100));  // from here on it counts
  EXPECT_FALSE(seconds.due(6, 109));
  EXPECT_TRUE(seconds.due(7, 111));
  EXPECT_FALSE(seconds.due(9, 120));
  EXPECT_TRUE(seconds.due(10, 121));
}

Recipe minutes(double count) {
  Recipe recipe;
  recipe.minutes = count;
  return recipe;
}

constexpr double kLate = 0.05;  // share of the box that a loaded machine may take between two lines of a test

TEST(TimeBox, GoesFromTheFirstStepToWhatClosingNeeds) {
  TimeBox box(minutes(10));
  box.go_on({.spent = 30, .began = 30, .closing = 12});
  EXPECT_NEAR(box.done(), 0, kLate);
  box.go_on({.spent = 300, .began = 30, .closing = 12});  // 600 - 2 * 12 - 6 is the end
  EXPECT_NEAR(box.done(), 0.5, kLate);
  box.closing_took(20);
  EXPECT_GT(box.done(), 0.508);
  box.closing_took(1);  // the longest counts
  EXPECT_EQ(box.state().closing, 20);
  box.go_on({.spent = 571, .began = 30, .closing = 12});
  EXPECT_EQ(box.done(), 1);
}

TEST(TimeBox, BeginsWithTheFirstQuestion) {
  TimeBox box(minutes(10));
  box.go_on({.spent = 100, .began = -1, .closing = 0});
  EXPECT_EQ(box.done(), 0);
  EXPECT_NEAR(box.state().began, 100, 600 * kLate);
}

TEST(TimeBox, NothingFitsABoxThatClosingFills) {
  TimeBox box(minutes(1));
  box.closing_took(40);
  EXPECT_EQ(box.done(), 1);
}

TEST(TimeBox, IsNoneWithoutMinutes) {
  TimeBox box(minutes(0));
  box.go_on({.spent = 1e6, .began = 0, .closing = 1});
  EXPECT_EQ(box.done(), 0);
}

}  // namespace
}  // namespace s3d::train
