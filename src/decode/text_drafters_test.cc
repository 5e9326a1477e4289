#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/index.h"
#include "decode/drafters.h"
#include "model/adapter.h"

namespace s3d {
namespace {

DraftTree draft(Drafter& drafter, const std::vector<TokenId>& tokens, DraftLimits limits = {.nodes = 8, .depth = 8}) {
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
  EXPECT_EQ(draft(*drafter_, {7, 1, 2, 3, 4, 7}).empty(), !GetParam()) << "only the suffix drafter takes one token";
}

TEST_P(TextDrafters, FollowATextThatGrowsOrIsRolledBack) {
  std::vector<TokenId> text = {1, 2, 3, 4, 1, 2};
  EXPECT_EQ(draft(*drafter_, text).front().token, 3);
  text.insert(text.end(), {9, 9, 5, 1, 2});
  const TokenId next = draft(*drafter_, text).front().token;
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
  EXPECT_NEAR(tree.front().probability, 0.75 * 0.75 * 4 / (4 + 2.4 / std::pow(2, 1.4)), 1e-6);
  EXPECT_GT(drafter->extra_bytes(), 0U);
}

TEST(SuffixDrafter, LongerMatchesAreTrustedMore) {
  float before = 0;
  for (size_t length = 1; length <= 6; ++length) {
    std::vector<TokenId> text;
    for (size_t i = 0; i < length; ++i) text.push_back(static_cast<int32_t>(100 + i));
    std::vector<TokenId> tokens = text;
    tokens.push_back(5);
    tokens.insert(tokens.end(), text.begin(), text.end());
    const DraftTree tree = draft(*make_suffix_drafter(), tokens, {.nodes = 1, .depth = 1});
    ASSERT_EQ(tree.size(), 1U);
    EXPECT_EQ(tree[0].token, 5);
    EXPECT_GT(tree[0].probability, before);
    before = tree[0].probability;
  }
}

// What the automaton must find, by looking everywhere: the longest suffix that something followed before, its most
// frequent follower (of equal ones the first), and how often it and any follower came.
struct Followed {
  size_t length = 0;
  TokenId token = 0;
  int most = 0, all = 0;
};
Followed look_everywhere(const std::vector<TokenId>& text) {
  for (size_t length = text.size() - 1; length > 0; --length) {
    const std::vector<int32_t> suffix(text.end() - static_cast<std::ptrdiff_t>(length), text.end());
    std::vector<int32_t> followers;
    for (size_t begin = 0; begin + length < text.size(); ++begin) {
      if (std::equal(suffix.begin(), suffix.end(), text.begin() + begin)) {
        followers.push_back(text[begin + length]);
      }
    }
    Followed found{.length = length, .all = isize(followers)};
    for (const TokenId token : followers) {
      const auto n = static_cast<int>(std::count(followers.begin(), followers.end(), token));
      if (n > found.most) found.token = token, found.most = n;
    }
    if (found.all > 0) return found;
  }
  return {};
}

TEST(SuffixDrafter, FindsWhatASearchFindsInRandomTexts) {
  std::mt19937 random(7);
  for (int text = 0; text < 60; ++text) {
    const auto drafter = make_suffix_drafter();
    std::vector<TokenId> tokens = {0};
    for (int i = 0; i < 60; ++i) {
      tokens.push_back(static_cast<int32_t>(random() % (2 + static_cast<unsigned>(text) / 6)));
      const DraftTree tree = draft(*drafter, tokens, {.nodes = 1, .depth = 1});
      const Followed found = look_everywhere(tokens);
      const auto share = found.most / std::max(1.0, static_cast<double>(found.all));
      const double chance =
          share * share * found.all / (found.all + 2.4 / std::pow(static_cast<double>(found.length), 1.4));
      if (found.length == 0 || chance < 0.05) {
        EXPECT_TRUE(tree.empty());
      } else {
        ASSERT_EQ(tree.size(), 1U);
        EXPECT_EQ(tree[0].token, found.token);
        EXPECT_NEAR(tree[0].probability, chance, 1e-6);
      }
    }
  }
}

TEST(SuffixDrafter, TakesFewBytesForAToken) {
  std::mt19937 random(3);
  std::vector<TokenId> tokens;
  for (int i = 0; i < 4000; ++i) tokens.push_back(static_cast<int32_t>(std::sqrt(random() % 1000000)));  // often large
  const auto drafter = make_suffix_drafter();
  draft(*drafter, tokens);
  EXPECT_LT(drafter->extra_bytes(), 4000U * 90);
}

// What the model often says: 8 after 7 (any before), 9 after 6 7.
std::shared_ptr<const NgramTable> habits() {
  return std::make_shared<NgramTable>(
      Ngrams{.before = {-1, 6, -1}, .last = {7, 7, 8}, .next = {8, 9, 4}, .chance = {0.4F, 0.8F, 0.2F}});
}

TEST(SuffixDrafter, HabitsSpeakWhereTheTextHasNothingBetter) {
  const auto drafter = make_suffix_drafter(habits());
  EXPECT_EQ(tokens_of(draft(*drafter, {1, 2, 7})), (std::vector<int32_t>{8, 4}));
  EXPECT_EQ(tokens_of(draft(*drafter, {1, 6, 7})), (std::vector<int32_t>{9}));
  // "1 2 7" was followed by 3: a match of three tokens is likelier than the habit.
  EXPECT_EQ(draft(*drafter, {1, 2, 7, 3, 5, 1, 2, 7}).front().token, 3);
  EXPECT_GE(drafter->extra_bytes(), habits()->bytes());
}

TEST(SuffixDrafter, ADraftGoesBackIntoTheTextAfterAHabit) {
  // After the habit 7 -> 8, "8 1 2" of the text follows.
  EXPECT_EQ(tokens_of(draft(*make_suffix_drafter(habits()), {8, 1, 2, 3, 5, 7}, {.nodes = 3, .depth = 3})),
            (std::vector<int32_t>{8, 1, 2}));
}

TEST(SuffixDrafter, CopiesFromATextThatIsExpected) {
  const auto drafter = make_suffix_drafter();
  drafter->expect(std::vector<TokenId>{1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(tokens_of(draft(*drafter, {9, 2, 3, 4, 5})), (std::vector<int32_t>{6, 7})) << "not across its end";
  EXPECT_TRUE(draft(*drafter, {9}).empty());
  EXPECT_EQ(tokens_of(draft(*drafter, {2, 3, 4, 5})), (std::vector<int32_t>{6, 7})) << "after a roll-back too";
}

TEST(SuffixDrafter, LongCopiesAreDraftedWhole) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < 100; ++i) tokens.push_back(i);
  for (int i = 0; i < 20; ++i) tokens.push_back(i);
  const DraftTree tree = draft(*make_suffix_drafter(), tokens, {.nodes = 90, .depth = kMaxTextDraft});
  ASSERT_EQ(tree.size(), usize(kMaxTextDraft));
  for (int i = 0; i < kMaxTextDraft; ++i) EXPECT_EQ(tree[usize(i)].token, 20 + i);
  EXPECT_GT(tree[0].probability, 0.95F);
  EXPECT_GT(tree.back().probability, 0.99F);
}

TEST(NgramTable, FindsEveryEntryAndNothingElse) {
  Ngrams ngrams;
  for (int i = 0; i < 5000; ++i) {
    ngrams.before.push_back(i % 3 == 0 ? -1 : i * 7 % 1000);
    ngrams.last.push_back(i);
    ngrams.next.push_back(150000 - i);
    ngrams.chance.push_back(0.5F);
  }
  const NgramTable table(ngrams);
  for (size_t i = 0; i < ngrams.size(); ++i) {
    const NgramTable::Guess guess = table.after(ngrams.before[i], ngrams.last[i]);
    EXPECT_EQ(guess.token, ngrams.next[i]);
    EXPECT_NEAR(guess.chance, 0.5, 1.0 / 255);
    EXPECT_EQ(table.after(1001, ngrams.last[i]).chance > 0, ngrams.before[i] == -1);
  }
  EXPECT_EQ(table.after(-1, 6000).chance, 0);
  EXPECT_EQ(NgramTable(Ngrams{}).after(1, 2).chance, 0);
  EXPECT_LE(table.bytes(), 5000U * 8 * 2);
}

TEST(SuffixDrafter, LongRepetitiveTextsStayFast) {
  const auto drafter = make_suffix_drafter();
  const std::vector<TokenId> text(20000, 7);
  EXPECT_EQ(tokens_of(draft(*drafter, text, {.nodes = 4, .depth = 4})), (std::vector<int32_t>{7, 7, 7, 7}));
}

}  // namespace
}  // namespace s3d
