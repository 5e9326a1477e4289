#include "cli/synthetic_drafter.h"

#include <gtest/gtest.h>

#include "base/index.h"

namespace s3d::cli {
namespace {

// How many first tokens of a draft were right, of all that it gave along the text.
double share_right(double rate) {
  const KnownText text = std::make_shared<std::vector<TokenId>>(4000);
  for (size_t i = 0; i < text->size(); ++i) (*text)[i] = static_cast<TokenId>(i * 31 % 97);
  const auto drafter = make_synthetic_drafter(text, rate, 97, nullptr);
  int right = 0, all = 0;
  DraftTree tree;
  for (size_t n = 1; n < text->size(); ++n) {
    EXPECT_TRUE(drafter->draft({.tokens = std::span(*text).first(n)}, {.nodes = 4, .depth = 4}, tree).ok());
    ++all;
    right += tree[0].token == (*text)[n] ? 1 : 0;
  }
  return static_cast<double>(right) / all;
}

TEST(SyntheticDrafterTest, IsRightAsOftenAsAsked) {
  EXPECT_EQ(share_right(0), 0);
  EXPECT_EQ(share_right(1), 1);
  EXPECT_NEAR(share_right(0.7), 0.7, 0.03);
}

TEST(SyntheticDrafterTest, EndsWithTheText) {
  const KnownText text = std::make_shared<std::vector<TokenId>>(std::vector<TokenId>{1, 2, 3, 4, 5});
  const auto drafter = make_synthetic_drafter(text, 1, 100, nullptr);
  DraftTree tree;
  ASSERT_TRUE(drafter->draft({.tokens = std::span(*text).first(3)}, {.nodes = 8, .depth = 8}, tree).ok());
  ASSERT_EQ(tree.size(), 2U);
  EXPECT_EQ(tree[0].token, 4);
  EXPECT_EQ(tree[1].token, 5);
  EXPECT_EQ(tree[1].parent, 0);
  ASSERT_TRUE(drafter->draft({.tokens = *text}, {.nodes = 8, .depth = 8}, tree).ok());
  EXPECT_TRUE(tree.empty());
}

}  // namespace
}  // namespace s3d::cli
