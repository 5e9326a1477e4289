#include "model/layer_set.h"

#include <gtest/gtest.h>

#include <climits>
#include <string>

namespace s3d {
namespace {

TEST(ParseLayers, TakesTwoNumbers) {
  EXPECT_EQ((LayerSet{3, 9}), parse_layers("3+9").value());
  EXPECT_EQ((LayerSet{0, 1}), parse_layers("0+1").value());
  EXPECT_EQ((LayerSet{4, 0}), parse_layers("4+0").value());
}

TEST(ParseLayers, NamesWhatItRefuses) {
  for (const std::string text : {"", "3", "3+", "+9", "3-9", "3+9x", " 3+9", "-1+3", "3+-1", "0+0", "99999999999+1"}) {
    const auto set = parse_layers(text);
    ASSERT_FALSE(set.ok()) << text;
    EXPECT_NE(std::string::npos, set.error().message.find("'" + text + "': expected A+Z")) << set.error().message;
  }
}

// Their sum would not be a number of layers.
TEST(ParseLayers, RefusesMoreThanAnIntHolds) {
  const std::string most = std::to_string(INT_MAX);
  EXPECT_FALSE(parse_layers(most + "+" + most).ok());
}

}  // namespace
}  // namespace s3d
