#include "decode/rider_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace s3d {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

constexpr int kDeep = 100;

MATCHER_P2(Rides, node, masks, "") {
  return arg.node == node && arg.masks == masks;
}

TEST(RiderChoice, RideBehindTheRowsThatMayBeLast) {
  // The root is last with 0.2, the first node with 0.8 * 0.75 = 0.6, the second with 0.2.
  const DraftTree tree = {{5, -1, 0.8F}, {6, 0, 0.25F}};
  const std::vector<double> chances = {0.8, 0.25}, worth = {0.5, 0.2}, costs(8, 0.11);
  // 0.6 * 0.5 = 0.3 and 0.6 * 0.2 = 0.12 behind the first node; 0.2 * 0.5 = 0.1 pays for no row.
  EXPECT_THAT(choose_riders(tree, chances, worth, costs, kDeep), ElementsAre(Rides(0, 2)));
}

TEST(RiderChoice, TakesTheMostWorthFirst) {
  const DraftTree tree = {{5, -1, 0.5F}};
  const std::vector<double> chances = {0.4}, worth = {1, 0.5}, costs(3, 0.0);
  // 0.6, 0.4, 0.3; then 0.2, for which there is no row.
  EXPECT_THAT(choose_riders(tree, chances, worth, costs, kDeep), ElementsAre(Rides(-1, 2), Rides(0, 1)));
}

TEST(RiderChoice, AlternativesShareTheirParentsChance) {
  const DraftTree tree = {{5, -1, 0.5F}, {6, -1, 0.3F}};
  const std::vector<double> chances = {0.5, 0.3}, worth = {1}, costs(8, 0.25);
  // The root is last with 0.2 only.
  EXPECT_THAT(choose_riders(tree, chances, worth, costs, kDeep), ElementsAre(Rides(0, 1), Rides(1, 1)));
}

TEST(RiderChoice, NoMaskStandsDeeperThanDraftsMay) {
  const DraftTree tree = {{5, -1, 0.5F}};
  const std::vector<double> chances = {0.5}, worth = {1, 0.5}, costs(8, 0.0);
  EXPECT_THAT(choose_riders(tree, chances, worth, costs, 2), ElementsAre(Rides(-1, 2), Rides(0, 1)));
  EXPECT_THAT(choose_riders(tree, chances, worth, costs, 1), ElementsAre(Rides(-1, 1)));
  EXPECT_TRUE(choose_riders(tree, chances, worth, costs, 0).empty());
}

TEST(RiderChoice, NothingIsWorthARowThatCostsMore) {
  const std::vector<double> worth = {0.5}, dear = {0.6}, cheap = {0.1};
  EXPECT_TRUE(choose_riders({}, {}, worth, dear, kDeep).empty());
  EXPECT_TRUE(choose_riders({}, {}, worth, {}, kDeep).empty());
  EXPECT_TRUE(choose_riders({}, {}, {}, cheap, kDeep).empty());
  EXPECT_THAT(choose_riders({}, {}, worth, cheap, kDeep), ElementsAre(Rides(-1, 1)));
}

TEST(RiderWorth, FollowsWhatRoundsPromised) {
  RiderWorth worth;
  const std::vector<double> chances = {0.5, 0.5};
  EXPECT_THAT(worth.of_masks(chances), ElementsAre(DoubleNear(1.0 / 3, 1e-9), DoubleNear(1.0 / 6, 1e-9)));
  for (int i = 0; i < 100; ++i) worth.learn(-1);
  EXPECT_LT(worth.of_masks(chances)[0], 1e-3) << "a round that promised less was not worse for riders";
  for (int i = 0; i < 30; ++i) worth.forget();
  EXPECT_GT(worth.of_masks(chances)[0], 0.05) << "it is tried again";
  for (int i = 0; i < 100; ++i) worth.learn(0.9);
  EXPECT_NEAR(worth.of_masks(chances)[0], 0.6, 1e-3);
  EXPECT_THAT(worth.of_masks(std::vector<double>{0.0}), ElementsAre(0.0));
}

}  // namespace
}  // namespace s3d
