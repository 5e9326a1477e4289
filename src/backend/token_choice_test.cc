#include "backend/token_choice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace s3d {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
using Tokens = std::vector<RankedToken>;

Choices choose(const std::vector<float>& logits, const ChoiceAsk& ask) {
  Choices out;
  out.resize(1, ask);
  choose_row(logits, ask, 0, out);
  return out;
}

TEST(TokenChoice, LargerLogitsFirstThenSmallerTokens) {
  const std::vector<float> logits = {1, 3, 2, 3, -1, 2};
  EXPECT_EQ(choose(logits, {.best = 1}).tokens, (Tokens{{1, 3}}));
  EXPECT_EQ(choose(logits, {.best = 4}).tokens, (Tokens{{1, 3}, {3, 3}, {2, 2}, {5, 2}}));
}

TEST(TokenChoice, WhatIsNoNumberIsNoToken) {
  for (const int best : {1, 3}) {
    const Choices some = choose({kNan, -kInfinity, 5, kNan}, {.best = best});
    EXPECT_EQ(some.tokens[0], (RankedToken{2, 5}));
    EXPECT_EQ(some.finite[0], 0);
    if (best > 1) {
      EXPECT_EQ(some.tokens[1].token, -1);
    }
    EXPECT_EQ(choose({kNan, -kInfinity}, {.best = best}).tokens[0].token, -1);
    EXPECT_EQ(choose({kInfinity, 7}, {.best = best}).finite[0], 0);
    EXPECT_EQ(choose({6, 7}, {.best = best}).finite[0], 1);
  }
}

TEST(TokenChoice, AsManyAsThereAre) {
  Tokens best(3, {7, 1});
  take_best(std::vector<float>{-kInfinity, 2, 3}, best);
  EXPECT_EQ(best, (Tokens{{2, 3}, {1, 2}, {-1, -kInfinity}}));
  take_best(std::vector<float>{1}, {});
}

TEST(TokenChoice, SumsGiveProbabilities) {
  std::mt19937 random(1);
  std::vector<float> logits(2500);
  for (float& x : logits) x = static_cast<float>(random() % 1000) / 50;
  const Choices choices = choose(logits, {.best = 2, .sums = true});
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x - choices.tokens[0].logit));
  EXPECT_NEAR(choices.sums[0], sum, 1e-5 * sum);
}

}  // namespace
}  // namespace s3d
