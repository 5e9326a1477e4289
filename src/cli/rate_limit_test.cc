#include "cli/rate_limit.h"

#include <gtest/gtest.h>

namespace s3d::cli {
namespace {

TEST(RateLimit, FillsUpEvenly) {
  RateLimit limit(6);  // one in ten seconds
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(limit.take("a", 100).has_value());
  EXPECT_NEAR(limit.take("a", 100).value(), 10, 1e-9);
  EXPECT_FALSE(limit.take("b", 100).has_value());  // others have their own
  EXPECT_NEAR(limit.take("a", 104).value(), 6, 1e-9);
  EXPECT_FALSE(limit.take("a", 110).has_value());
  EXPECT_TRUE(limit.take("a", 110).has_value());
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(limit.take("a", 1000).has_value());  // no more than a minute's worth
  EXPECT_TRUE(limit.take("a", 1000).has_value());
}

TEST(RateLimit, ZeroIsNone) {
  RateLimit limit(0);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limit.take("a", 0).has_value());
}

}  // namespace
}  // namespace s3d::cli
