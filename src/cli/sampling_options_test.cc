#include "cli/sampling_options.h"

#include <gtest/gtest.h>

#include <cmath>

namespace s3d::cli {
namespace {

TEST(LogitBiasTest, ReadsAllForms) {
  EXPECT_EQ(parse_logit_bias("15+1.5").value(), std::pair(15, 1.5F));
  EXPECT_EQ(parse_logit_bias("15-1.5").value(), std::pair(15, -1.5F));
  EXPECT_EQ(parse_logit_bias("0=2").value(), std::pair(0, 2.0F));
  EXPECT_EQ(parse_logit_bias("7=-inf").value(), std::pair(7, -INFINITY));
  EXPECT_EQ(parse_logit_bias("7-inf").value(), std::pair(7, -INFINITY));
}

TEST(LogitBiasTest, RefusesTheRestByName) {
  for (const char* text : {"", "5", "x+1", "-5+1", "5+", "5+x", "5+1x", "5=nan", "99999999999+1", "5*2"}) {
    const auto bias = parse_logit_bias(text);
    ASSERT_FALSE(bias.ok()) << text;
    EXPECT_NE(bias.error().message.find("ID+X"), std::string::npos);
  }
}

}  // namespace
}  // namespace s3d::cli
