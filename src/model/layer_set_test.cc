#include "model/layer_set.h"

#include <gtest/gtest.h>

namespace s3d {
namespace {

TEST(LayerSet, TheDefaultIsATenthAndThreeTenthsRounded) {
  EXPECT_EQ(default_draft_layers(30), (LayerSet{3, 9}));  // smollm2-135m
  EXPECT_EQ(default_draft_layers(24), (LayerSet{2, 7}));  // qwen2.5-coder-0.5b
  EXPECT_EQ(default_draft_layers(28), (LayerSet{3, 8}));
  EXPECT_EQ(default_draft_layers(16), (LayerSet{2, 5}));
  EXPECT_EQ(default_draft_layers(2), (LayerSet{1, 1}));
  EXPECT_EQ(default_draft_layers(1), (LayerSet{1, 0}));
}

TEST(LayerSet, CountsItsLayersInTheOrderInWhichTheyRun) {
  const LayerSet set = {2, 3};
  EXPECT_EQ(set.count(), 5);
  EXPECT_EQ(set.layer(0, 10), 0);
  EXPECT_EQ(set.layer(1, 10), 1);
  EXPECT_EQ(set.layer(2, 10), 7);
  EXPECT_EQ(set.layer(4, 10), 9);
  for (int layer = 0; layer < 10; ++layer) EXPECT_EQ(set.has(layer, 10), layer < 2 || layer >= 7) << layer;
}

TEST(LayerSet, IsWrittenAsTwoNumbers) {
  EXPECT_EQ(parse_layer_set("3+9").value(), (LayerSet{3, 9}));
  EXPECT_EQ(parse_layer_set("0+1").value(), (LayerSet{0, 1}));
  for (const char* wrong :
       {"", "3", "3+", "+9", "3+9x", "-1+2", "0+0", "3 + 9", "3+-1", "99999999999+1", "2147483647+1"}) {
    EXPECT_FALSE(parse_layer_set(wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace s3d
