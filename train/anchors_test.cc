#include "train/anchors.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "train/test_models.h"

namespace s3d::train {
namespace {

TEST(RowSchedule, SharesOfStepsGiveTheWeights) {
  const std::vector<double> weights = {1, 0.6, 0.35, 0.2};
  const RowSchedule schedule(weights, /*sampled=*/true, /*full_groups=*/12, 1);
  std::vector<double> sums(4);
  for (int64_t step = 0; step < 20000; ++step) {
    const int rows = schedule.rows(step);
    ASSERT_GE(rows, 1);
    ASSERT_LE(rows, 4);
    // A step's loss is the mean over its rows.
    for (int j = 0; j < rows; ++j) sums[static_cast<size_t>(j)] += 1.0 / rows;
  }
  for (size_t j = 1; j < 4; ++j) EXPECT_NEAR(sums[j] / sums[0], weights[j], 0.02) << "row " << j;
  EXPECT_EQ(schedule.groups(1), 48);
  EXPECT_EQ(schedule.groups(4), 12);
}

TEST(RowSchedule, AllRowsIsOneKindOfStep) {
  const RowSchedule schedule({1, 0.5}, /*sampled=*/false, 6, 1);
  for (int64_t step = 0; step < 100; ++step) EXPECT_EQ(schedule.rows(step), 2);
  EXPECT_DOUBLE_EQ(schedule.mean_groups(), 6);
}

TEST(AnchorSchedule, EveryAnchorOnceAnEpoch) {
  const Dataset data = random_dataset(7, 3, 11, 50);
  const RowSchedule rows({1, 0.5, 0.2}, /*sampled=*/true, 2, 1);
  AnchorSchedule schedule(data, 4, rows, 1);
  int64_t expected = 0;
  for (const Sequence& sequence : data.sequences) expected += static_cast<int64_t>(all_anchors(sequence).size());
  EXPECT_EQ(schedule.anchors_per_epoch(), expected);

  std::map<std::pair<int, int>, int> seen;
  for (int64_t step = 0; step < 400; ++step) {
    for (const AnchorGroup& group : schedule.step(step)) {
      for (const int position : group.positions) ++seen[{group.sequence, position}];
    }
  }
  EXPECT_EQ(static_cast<int64_t>(seen.size()), expected);
  int least = 1 << 30, most = 0;
  for (const auto& [anchor, count] : seen) {
    least = std::min(least, count);
    most = std::max(most, count);
  }
  EXPECT_LE(most - least, 1);
  EXPECT_GT(least, 10);
}

TEST(AnchorSchedule, StepsDoNotDependOnTheOnesBefore) {
  const Dataset data = random_dataset(7, 3, 11, 50);
  const RowSchedule rows({1, 0.5, 0.2}, /*sampled=*/true, 2, 1);
  AnchorSchedule all(data, 4, rows, 1), late(data, 4, rows, 1);
  for (int64_t step = 0; step < 30; ++step) all.step(step);
  const auto a = all.step(30), b = late.step(30);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].sequence, b[i].sequence);
    EXPECT_EQ(a[i].positions, b[i].positions);
  }
}

}  // namespace
}  // namespace s3d::train
