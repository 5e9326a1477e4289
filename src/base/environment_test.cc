#include "base/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace s3d {
namespace {

TEST(Environment, BlanksAndLineEndsAroundAValueAreNoPartOfIt) {
  ASSERT_EQ(setenv("S3D_TEST_VALUE", " \t/a folder/x \r\n", 1), 0);
  EXPECT_EQ(environment("S3D_TEST_VALUE"), "/a folder/x");
  ASSERT_EQ(setenv("S3D_TEST_VALUE", " \n", 1), 0);
  EXPECT_EQ(environment("S3D_TEST_VALUE"), "");
  ASSERT_EQ(unsetenv("S3D_TEST_VALUE"), 0);
  EXPECT_EQ(environment("S3D_TEST_VALUE"), "");
}

TEST(Environment, SlashesAtTheEndOfAPathAreDropped) {
  EXPECT_EQ(without_end_slashes("/a/b//"), "/a/b");
  EXPECT_EQ(without_end_slashes("https://host/"), "https://host");
  EXPECT_EQ(without_end_slashes("/"), "/");
  EXPECT_EQ(without_end_slashes(""), "");
}

}  // namespace
}  // namespace s3d
