#include "spec/text_drafters.h"

#include <gtest/gtest.h>

namespace s3d {
namespace {

DraftTree draft(Drafter& drafter, const std::vector<int32_t>& tokens, DraftLimits limits = {.nodes = 8, .depth = 8}) {
  DraftTree tree;
  EXPECT_TRUE(drafter.draft({.seq = 0, .tokens = tokens, .state = {}}, limits, tree).ok());
  for (size_t i = 0; i < tree.size(); ++i) {
    EXPECT_EQ(tree[i].parent, static_cast<int>(i) - 1);
    EXPECT_GE(tree[i].probability, 0);
    EXPECT_LE(tree[i].probability, 1);
  }
  return tree;
}

std::vector<int32_t> tokens_of(const DraftTree& tree) {
  std::vector<int32_t> out;
  for (const DraftNode& node : tree) out.push_back(node.token);
  return out;
}

class TextDrafters : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Drafter> drafter_ = GetParam() ? make_suffix_drafter() : make_lookup_drafter();
};

TEST_P(TextDrafters, GoOnAsTheTextDidBefore) {
  EXPECT_EQ(tokens_of(draft(*drafter_, {1, 2, 3, 4, 5, 6, 1, 2, 3}, {.nodes = 3, .depth = 8})),
            (std::vector<int32_t>{4, 5, 6}));
  EXPECT_EQ(tokens_of(draft(*drafter_, {1, 2, 3, 4, 5, 6, 1, 2, 3}, {.nodes = 8, .depth = 2})),
            (std::vector<int32_t>{4, 5}));
}

TEST_P(TextDrafters, SayNothingWithoutARepetition) {
  EXPECT_TRUE(draft(*drafter_, {1}).empty());
  EXPECT_TRUE(draft(*drafter_, {1, 2, 3, 4}).empty());
  EXPECT_TRUE(draft(*drafter_, {7, 1, 2, 3, 4, 7}).empty()) << "one token is too short a match";
}

TEST_P(TextDrafters, FollowATextThatGrowsOrIsRolledBack) {
  std::vector<int32_t> text = {1, 2, 3, 4, 1, 2};
  EXPECT_EQ(draft(*drafter_, text).front().token, 3);
  text.insert(text.end(), {9, 9, 5, 1, 2});
  const int32_t next = draft(*drafter_, text).front().token;
  EXPECT_TRUE(next == 9 || next == 3);
  EXPECT_EQ(tokens_of(draft(*drafter_, {5, 6, 7, 5, 6}, {.nodes = 1, .depth = 1})), std::vector<int32_t>{7});
}

INSTANTIATE_TEST_SUITE_P(Both, TextDrafters, testing::Bool(),
                         [](const auto& info) { return info.param ? "Suffix" : "Lookup"; });

TEST(SuffixDrafter, PrefersWhatFollowedMoreOften) {
  // "1 2" was followed by 3 three times and, most recently, by 8 once.
  const auto drafter = make_suffix_drafter();
  const DraftTree tree = draft(*drafter, {1, 2, 3, 0, 1, 2, 3, 5, 1, 2, 3, 6, 1, 2, 8, 7, 1, 2});
  ASSERT_FALSE(tree.empty());
  EXPECT_EQ(tree.front().token, 3);
  EXPECT_NEAR(tree.front().probability, 3.0 / 4 * 2 / 3, 1e-6);
  EXPECT_GT(drafter->extra_bytes(), 0U);
}

TEST(SuffixDrafter, LongRepetitiveTextsStayFast) {
  const auto drafter = make_suffix_drafter();
  const std::vector<int32_t> text(20000, 7);
  EXPECT_EQ(tokens_of(draft(*drafter, text, {.nodes = 4, .depth = 4})), (std::vector<int32_t>{7, 7, 7, 7}));
}

}  // namespace
}  // namespace s3d
