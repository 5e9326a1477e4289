#include "decode/prefix_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/index.h"
#include "decode/scripted_backend.h"

namespace s3d {
namespace {

class PrefixCacheTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 32;
  PrefixCacheTest() : kv_(KvCache::create(scripted_config(), KvType::kF32, kPages * 64).value()) {}

  size_t page_bytes() const { return kv_.bytes_per_token() * KvCache::kPageTokens; }

  // A sequence whose slots say which token they are of.
  KvSequence write(const std::vector<TokenId>& tokens, KvSequence seq) {
    const int first = kv_.length(seq);
    EXPECT_TRUE(kv_.reserve(seq, isize(tokens) - first).ok());
    for (int i = first; i < isize(tokens); ++i) {
      const auto value = static_cast<float>(tokens[usize(i)]);
      std::memcpy(slot(seq, i), &value, sizeof value);
    }
    kv_.commit(seq, isize(tokens) - first);
    return seq;
  }
  std::byte* slot(SeqId seq, int i) {
    return kv_.page(seq, i / KvCache::kPageTokens) + kv_.layout().key(0, 0, i % KvCache::kPageTokens).numbers;
  }
  std::vector<TokenId> read(SeqId seq) {
    std::vector<TokenId> tokens;
    for (int i = 0; i < kv_.length(seq); ++i) {
      float value = 0;
      std::memcpy(&value, slot(seq, i), sizeof value);
      tokens.push_back(static_cast<TokenId>(value));
    }
    return tokens;
  }
  void insert(PrefixCache& cache, const std::vector<TokenId>& tokens, const std::string& key = "") {
    const KvSequence seq = write(tokens, kv_.add_sequence());
    cache.insert(key, seq, tokens);
  }
  static std::vector<TokenId> text(TokenId first, int n) {
    std::vector<TokenId> tokens;
    for (int i = 0; i < n; ++i) tokens.push_back(first + i);
    return tokens;
  }

  KvCache kv_;
};

TEST_F(PrefixCacheTest, FindsTheLongestBeginningAndNotATokenMore) {
  PrefixCache cache(kv_, kPages * page_bytes());
  insert(cache, text(100, 80));
  std::vector<TokenId> other = text(100, 50);
  other.insert(other.end(), {7, 7, 7, 7});
  insert(cache, other);
  EXPECT_EQ(cache.tokens(), 84);
  const auto found = [&](const std::vector<TokenId>& tokens, int most) {
    const auto seq = cache.find("", RopeSet::kShort, tokens, most);
    const int length = seq ? kv_.length(*seq) : 0;
    if (seq) {
      EXPECT_EQ(read(*seq), std::vector<TokenId>(tokens.begin(), tokens.begin() + length));
    }
    return length;
  };
  EXPECT_EQ(found(text(100, 90), 89), 80);
  EXPECT_EQ(found(text(100, 80), 79), 79);
  EXPECT_EQ(found(text(100, 60), 60), 60);
  EXPECT_EQ(found(other, 53), 53);
  EXPECT_EQ(found(text(100, 3), 2), 2);
  EXPECT_EQ(found(text(101, 30), 29), 0);
  EXPECT_EQ(found({}, -1), 0);
  other.back() = 8;
  EXPECT_EQ(found(other, 54), 53);
}

TEST_F(PrefixCacheTest, WhoeverWritesIntoASharedPageGetsItsOwn) {
  PrefixCache cache(kv_, kPages * page_bytes());
  insert(cache, text(100, 70));
  auto one = cache.find("", RopeSet::kShort, text(100, 70), 66),
       two = cache.find("", RopeSet::kShort, text(100, 70), 66);
  std::vector<TokenId> a = text(100, 66), b = a;
  a.insert(a.end(), {1, 2, 3});
  b.insert(b.end(), {4, 5, 6});
  const KvSequence first = write(a, std::move(*one)), second = write(b, std::move(*two));
  EXPECT_EQ(read(first), a);
  EXPECT_EQ(read(second), b);
  const std::optional<KvSequence> third = cache.find("", RopeSet::kShort, text(100, 70), 70);
  EXPECT_EQ(read(*third), text(100, 70));
}

TEST_F(PrefixCacheTest, KeysAndRotationsDoNotMeet) {
  PrefixCache cache(kv_, kPages * page_bytes());
  insert(cache, text(100, 40), "anna");
  EXPECT_TRUE(cache.find("anna", RopeSet::kShort, text(100, 40), 39));
  EXPECT_FALSE(cache.find("bert", RopeSet::kShort, text(100, 40), 39));
  EXPECT_FALSE(cache.find("anna", RopeSet::kLong, text(100, 40), 39));
}

TEST_F(PrefixCacheTest, TheLeastRecentlyUsedLeafGoesFirst) {
  PrefixCache cache(kv_, 3 * page_bytes());
  insert(cache, text(100, 60));
  insert(cache, text(200, 60));
  insert(cache, text(300, 60));
  EXPECT_TRUE(cache.find("", RopeSet::kShort, text(100, 60), 59));
  insert(cache, text(400, 60));
  EXPECT_LE(cache.bytes(), 3 * page_bytes());
  EXPECT_TRUE(cache.find("", RopeSet::kShort, text(100, 60), 59));
  EXPECT_FALSE(cache.find("", RopeSet::kShort, text(200, 60), 59));
  EXPECT_TRUE(cache.find("", RopeSet::kShort, text(400, 60), 59));
  insert(cache, text(500, 64 * 4));
  EXPECT_FALSE(cache.find("", RopeSet::kShort, text(500, 60), 59)) << "it alone is too much";
  while (cache.evict()) {
  }
  EXPECT_EQ(cache.tokens(), 0);
  EXPECT_EQ(cache.bytes(), 0U);
  EXPECT_EQ(kv_.used(), 0);
}

// Against a list of all texts.
TEST_F(PrefixCacheTest, FindsWhatAListOfAllTextsHas) {
  std::mt19937 random(4);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  PrefixCache cache(kv_, kPages * page_bytes());
  std::vector<std::vector<TokenId>> all;
  for (int step = 0; step < 300; ++step) {
    std::vector<TokenId> tokens;
    for (int n = 16 + below(30); n > 0; --n) tokens.push_back(below(8) == 0 ? below(3) : 1);
    size_t longest = 0;
    for (const std::vector<TokenId>& known : all) {
      const size_t most = std::min(known.size(), tokens.size());
      size_t common = 0;
      while (common < most && known[common] == tokens[common]) ++common;
      longest = std::max(longest, common);
    }
    const auto found = cache.find("", RopeSet::kShort, tokens, isize(tokens));
    ASSERT_EQ(found ? kv_.length(*found) : 0, static_cast<int>(longest)) << step;
    if (found) {
      EXPECT_EQ(read(*found), std::vector<TokenId>(tokens.begin(), tokens.begin() + static_cast<int>(longest)));
    }
    if (isize(all) < 14) {
      all.push_back(tokens);
      insert(cache, tokens);
    }
  }
}

}  // namespace
}  // namespace s3d
