#include "http/target.h"

#include <gtest/gtest.h>

namespace s3d::http {
namespace {

TEST(TargetTest, TakesPathAndQueryApart) {
  const auto target = parse_target("/v1/models/hf.co%2Fuser%2Frepo?limit=3&x=%20");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->path, "/v1/models/hf.co/user/repo");
  EXPECT_EQ(target->query, "limit=3&x=%20");
}

TEST(TargetTest, TakesTheAbsoluteForm) {
  EXPECT_EQ(parse_target("http://host:8080/health?a")->path, "/health");
  EXPECT_EQ(parse_target("http://host:8080/health?a")->query, "a");
  EXPECT_EQ(parse_target("HTTP://host")->path, "/");
  EXPECT_EQ(parse_target("https://host?q")->path, "/");
  EXPECT_EQ(parse_target("https://host?q")->query, "q");
}

TEST(TargetTest, TakesTheAsterisk) {
  EXPECT_EQ(parse_target("*")->path, "*");
}

TEST(TargetTest, RefusesWhatIsNoTarget) {
  for (const char* text : {"", "health", "host:80", "*/", "/a%", "/a%2", "/a%zz", "/a%00", "/a%0a", "/a%7f", "/a b",
                           "/a#b", "/caf\xc3\xa9", "/../etc", "/a/..", "/a/%2e%2e/b", "/./a", "ftp://host/"}) {
    EXPECT_FALSE(parse_target(text).ok()) << text;
  }
}

TEST(TargetTest, DotsInsideNamesAreFine) {
  EXPECT_EQ(parse_target("/a..b/.c/...")->path, "/a..b/.c/...");
}

TEST(TargetTest, FindsValuesOfAQuery) {
  EXPECT_EQ(query_value("a=1&b=two%20words+x&c&d=", "b"), "two words x");
  EXPECT_EQ(query_value("a=1&b=2", "a"), "1");
  EXPECT_EQ(query_value("a=1&c&d=", "c"), "");
  EXPECT_EQ(query_value("a=1&c&d=", "d"), "");
  EXPECT_EQ(query_value("a=1&&b=2", "b"), "2");
  EXPECT_EQ(query_value("%61=1", "a"), "1");
  EXPECT_EQ(query_value("a=1", "b"), std::nullopt);
  EXPECT_EQ(query_value("a=%zz", "a"), std::nullopt);
  EXPECT_EQ(query_value("", ""), std::nullopt);
}

}  // namespace
}  // namespace s3d::http
