#include "train/evaluate.h"

#include <gmock/gmock.h>

namespace s3d::train {
namespace {

using testing::ElementsAre;

TEST(Walk, CountsRoundsAsAnEngineWouldMakeThem) {
  // Two prompt tokens, answer 10 11 12 13 14 15 16: rounds begin where the last one ended.
  const Sequence sequence = {{1, 2, 10, 11, 12, 13, 14, 15, 16}, 2};
  const std::vector<std::vector<int32_t>> drafts = {
      {11, 12, 0},   // after 10: two right, then the target's own 13
      {0, 0, 0},     // never asked: 11 and 12 were passed over
      {0, 0, 0},     //
      {0, 15, 16},   // after 13: none right, the target's own 14
      {15, 16, 99},  // after 14: only two tokens are left
      {0, 0, 0},
  };
  const Acceptance walked = walk(sequence, drafts, 3);
  EXPECT_EQ(walked.rounds, 3);
  EXPECT_EQ(walked.tokens, 3 + 1 + 2);
  EXPECT_THAT(walked.reached, ElementsAre(3, 2, 1));
  EXPECT_THAT(walked.accepted, ElementsAre(2, 2, 0));
  EXPECT_DOUBLE_EQ(walked.mean(), 2);
  EXPECT_DOUBLE_EQ(walked.rate(1), 1);
}

TEST(Acceptance, AddsUp) {
  Acceptance sum;
  sum.add({2, 5, {2, 1}, {1, 1}});
  sum.add({1, 1, {1, 0}, {0, 0}});
  EXPECT_DOUBLE_EQ(sum.mean(), 2);
  EXPECT_THAT(sum.reached, ElementsAre(3, 1));
  EXPECT_DOUBLE_EQ(Acceptance{}.mean(), 0);
}

}  // namespace
}  // namespace s3d::train
