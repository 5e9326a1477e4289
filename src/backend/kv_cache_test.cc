#include "backend/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/index.h"

namespace s3d {
namespace {

ModelConfig small_config() {
  ModelConfig config{};
  config.n_layers = 2;
  config.n_kv_heads = 2;
  config.head_dim = 20;
  return config;
}

// Writes bytes that tell the slot's content into every layer and head, straight by the layout.
class KvCacheTest : public testing::TestWithParam<KvType> {
 protected:
  KvCacheTest() : kv_(KvCache::create(small_config(), GetParam(), 4 * KvCache::kPageTokens).value()) {}

  // Calls f(pointer, bytes) for each contiguous piece of a slot, in a fixed order.
  template <typename F>
  void pieces(SeqId seq, int slot, F f) {
    const KvLayout& layout = kv_.layout();
    std::byte* page = kv_.page(seq, slot / KvCache::kPageTokens);
    const size_t in_page = usize(slot % KvCache::kPageTokens);
    const size_t lane = in_page % KvLayout::kGroup, width = layout.element_bytes();
    for (int layer = 0; layer < layout.n_layers; ++layer) {
      for (int head = 0; head < layout.n_kv_heads; ++head) {
        std::byte* group =
            page + layout.key_head_offset(layer, head) + in_page / KvLayout::kGroup * layout.key_group_bytes();
        for (size_t d = 0; d < usize(layout.head_dim); ++d) {
          f(group + (d * KvLayout::kGroup + lane) * width, width);
        }
        for (size_t b = 0; b < usize(layout.scale_blocks()); ++b) {
          f(group + layout.key_scales_offset() + (b * KvLayout::kGroup + lane) * 2, size_t{2});
        }
        std::byte* values = page + layout.value_head_offset(layer, head);
        f(values + in_page * layout.value_row_bytes(), layout.value_row_bytes());
        f(values + layout.value_scales_offset() + in_page * layout.value_scale_row_bytes(),
          layout.value_scale_row_bytes());
      }
    }
  }

  void write(SeqId seq, int slot, int content) {
    int i = 0;
    pieces(seq, slot, [&](std::byte* p, size_t n) { std::fill(p, p + n, static_cast<std::byte>(content + 31 * ++i)); });
  }

  bool holds(SeqId seq, int slot, int content) {
    int i = 0;
    bool same = true;
    pieces(seq, slot, [&](const std::byte* p, size_t n) {
      const std::byte expected = static_cast<std::byte>(content + 31 * ++i);
      same = same && std::all_of(p, p + n, [&](std::byte b) { return b == expected; });
    });
    return same;
  }

  // Reserves, writes content first, first + 1, … and commits.
  void append(SeqId seq, int rows, int first) {
    ASSERT_TRUE(kv_.reserve(seq, rows).ok());
    for (int i = 0; i < rows; ++i) write(seq, kv_.length(seq) + i, first + i);
    kv_.commit(seq, rows);
  }

  KvCache kv_;
};

TEST_P(KvCacheTest, SlotsDoNotOverlap) {
  const KvSequence seq = kv_.add_sequence();
  append(seq, 100, 0);
  EXPECT_EQ(kv_.length(seq), 100);
  EXPECT_EQ(kv_.used(), 128);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(holds(seq, i, i)) << i;
}

TEST_P(KvCacheTest, PiecesStayInsideThePage) {
  const KvSequence seq = kv_.add_sequence();
  ASSERT_TRUE(kv_.reserve(seq, 1).ok());
  const std::byte* page = kv_.page(seq, 0);
  for (const int slot : {0, 63}) {
    pieces(seq, slot, [&](const std::byte* p, size_t n) {
      EXPECT_GE(p, page);
      EXPECT_LE(p + n, page + kv_.layout().page_bytes());
    });
  }
  EXPECT_EQ(kv_.bytes(), kv_.layout().page_bytes() * 4);
  EXPECT_EQ(kv_.bytes_per_token() * KvCache::kPageTokens, kv_.layout().page_bytes());
}

TEST_P(KvCacheTest, CommitPathMovesRowsDown) {
  const KvSequence seq = kv_.add_sequence();
  append(seq, 60, 0);
  ASSERT_TRUE(kv_.reserve(seq, 10).ok());
  for (int i = 0; i < 10; ++i) write(seq, 60 + i, 100 + i);
  const std::vector<int> path = {0, 2, 3, 7, 9};  // crosses a page
  kv_.commit_path(seq, path);
  EXPECT_EQ(kv_.length(seq), 65);
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(holds(seq, i, i)) << i;
  for (size_t i = 0; i < path.size(); ++i) EXPECT_TRUE(holds(seq, 60 + static_cast<int>(i), 100 + path[i])) << i;
  kv_.commit_path(seq, {});
  EXPECT_EQ(kv_.length(seq), 65);
}

TEST_P(KvCacheTest, TruncateGivesPagesBack) {
  const KvSequence seq = kv_.add_sequence();
  append(seq, 200, 0);
  EXPECT_EQ(kv_.used(), 256);
  kv_.truncate(seq, 64);
  EXPECT_EQ(kv_.used(), 64);
  append(seq, 5, 200);
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(holds(seq, i, i)) << i;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(holds(seq, 64 + i, 200 + i)) << i;
  kv_.truncate(seq, 0);
  EXPECT_EQ(kv_.used(), 0);
}

TEST_P(KvCacheTest, CopiesShareUntilWritten) {
  KvSequence a = kv_.add_sequence();
  append(a, 70, 0);
  KvSequence b = kv_.copy_sequence(a);
  EXPECT_EQ(kv_.length(b), 70);
  EXPECT_EQ(kv_.used(), 128);  // nothing copied yet
  append(b, 3, 100);
  EXPECT_EQ(kv_.used(), 192);  // the second page only
  EXPECT_EQ(kv_.page(a, 0), kv_.page(b, 0));
  append(a, 3, 200);
  EXPECT_EQ(kv_.used(), 192);  // `a` is alone on its page now
  for (int i = 0; i < 70; ++i) EXPECT_TRUE(holds(a, i, i) && holds(b, i, i)) << i;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(holds(a, 70 + i, 200 + i) && holds(b, 70 + i, 100 + i)) << i;
  a = {};
  EXPECT_EQ(kv_.used(), 128);
  for (int i = 0; i < 70; ++i) EXPECT_TRUE(holds(b, i, i)) << i;
  b = {};
  EXPECT_EQ(kv_.used(), 0);
}

TEST_P(KvCacheTest, RollingBackACopyKeepsTheOriginal) {
  const KvSequence a = kv_.add_sequence();
  append(a, 40, 0);
  const KvSequence b = kv_.copy_sequence(a);
  kv_.truncate(b, 10);
  append(b, 20, 150);
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(holds(a, i, i)) << i;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(holds(b, i, i)) << i;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(holds(b, 10 + i, 150 + i)) << i;
}

TEST_P(KvCacheTest, FullPoolIsAnErrorThatChangesNothing) {
  const KvSequence a = kv_.add_sequence();
  KvSequence b = kv_.add_sequence();
  append(a, 150, 0);
  const Status status = kv_.reserve(b, 100);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("256 positions in all, 192 in use"), std::string::npos)
      << status.error().message;
  EXPECT_EQ(kv_.used(), 192);
  append(b, 64, 7);
  EXPECT_FALSE(kv_.reserve(b, 1).ok());
  ASSERT_TRUE(kv_.reserve(a, 42).ok());  // the rest of its last page
  // A copy needs a page of its own before it can be written.
  const KvSequence c = kv_.copy_sequence(a);
  EXPECT_FALSE(kv_.reserve(c, 1).ok());
  b = {};
  EXPECT_TRUE(kv_.reserve(c, 1).ok());
}

TEST_P(KvCacheTest, SequenceIdsAreReused) {
  KvSequence a = kv_.add_sequence();
  const KvSequence b = kv_.add_sequence();
  const SeqId id = a.id();
  EXPECT_NE(id, b.id());
  EXPECT_TRUE(kv_.has_sequence(id));
  a = {};
  EXPECT_FALSE(kv_.has_sequence(id));
  EXPECT_FALSE(kv_.has_sequence(-1));
  EXPECT_FALSE(kv_.has_sequence(17));
  EXPECT_EQ(kv_.add_sequence().id(), id);
}

TEST_P(KvCacheTest, AHandleMovesAndMayOutliveItsCache) {
  KvSequence kept;
  {
    KvCache cache = KvCache::create(small_config(), GetParam(), 128).value();
    KvSequence first = cache.add_sequence();
    const SeqId id = first.id();
    kept = std::move(first);
    EXPECT_EQ(kept.id(), id);
    EXPECT_EQ(first.id(), -1);  // NOLINT(bugprone-use-after-move): it owns nothing then
    EXPECT_TRUE(cache.has_sequence(id));
    KvCache moved = std::move(cache);
    EXPECT_TRUE(moved.has_sequence(kept));
  }
  kept = {};  // must not touch what is gone
}

TEST_P(KvCacheTest, KeysOfAnotherRopeSetAreDropped) {
  const KvSequence a = kv_.add_sequence();
  EXPECT_EQ(kv_.rope_set(a), RopeSet::kShort);
  ASSERT_TRUE(kv_.reserve(a, 3).ok());
  kv_.commit(a, 3);
  kv_.use_rope_set(a, RopeSet::kShort);
  EXPECT_EQ(kv_.length(a), 3);
  const KvSequence b = kv_.copy_sequence(a);
  kv_.use_rope_set(a, RopeSet::kLong);
  EXPECT_EQ(kv_.length(a), 0);
  EXPECT_EQ(kv_.rope_set(kv_.copy_sequence(a).id()), RopeSet::kLong);
  EXPECT_EQ(kv_.length(b), 3);
  EXPECT_EQ(kv_.rope_set(b), RopeSet::kShort);
}

INSTANTIATE_TEST_SUITE_P(Types, KvCacheTest, testing::Values(KvType::kF16, KvType::kF32, KvType::kQ8_0),
                         [](const auto& info) { return std::string(kv_type_name(info.param)); });

// Layers in two memories: a copy, a move and a page are those of both.
TEST(KvCache, PartsShareTheirSequences) {
  const std::vector<KvCache::Part> parts = {{1, make_host_kv_storage}, {1, make_host_kv_storage}};
  KvCache kv = KvCache::create(small_config(), KvType::kF16, 128, parts).value();
  std::vector<KvCache> views;
  for (const size_t i : {0U, 1U}) views.push_back(kv.part(i));
  EXPECT_EQ(views[0].layout().page_bytes() + views[1].layout().page_bytes(), kv.bytes() / 2);
  EXPECT_EQ(views[1].layout().first_layer, 1);
  EXPECT_EQ(views[1].layout().key(1, 0, 3).numbers, views[0].layout().key(0, 0, 3).numbers);
  const KvSequence seq = kv.add_sequence();
  ASSERT_TRUE(views[0].reserve(seq, 5).ok() && views[1].reserve(seq, 5).ok());
  const auto value = [&](KvCache& view, SeqId of, int slot) -> std::byte& {
    return view.page(of, 0)[view.layout().value(view.layout().first_layer, 1, slot).numbers];
  };
  for (int slot = 0; slot < 5; ++slot) {
    for (const size_t i : {0U, 1U}) value(views[i], seq, slot) = static_cast<std::byte>(10 * (i + 1) + usize(slot));
  }
  kv.commit_path(seq, std::vector<int>{1, 4});
  const KvSequence copy = kv.copy_sequence(seq);
  ASSERT_TRUE(views[1].reserve(copy, 1).ok());
  for (const size_t i : {0U, 1U}) {
    EXPECT_EQ(views[i].length(copy), 2);
    EXPECT_NE(views[i].page(seq, 0), views[i].page(copy, 0));
    EXPECT_EQ(value(views[i], copy, 0), static_cast<std::byte>(10 * (i + 1) + 1));
    EXPECT_EQ(value(views[i], copy, 1), static_cast<std::byte>(10 * (i + 1) + 4));
  }
}

TEST(KvCache, RefusesAbsurdSizes) {
  EXPECT_FALSE(KvCache::create(small_config(), KvType::kF16, 0).ok());
  EXPECT_FALSE(KvCache::create(small_config(), KvType::kF16, INT64_MAX).ok());
  ModelConfig wide = small_config();
  wide.n_layers = 1000;
  wide.n_kv_heads = 1000;
  wide.head_dim = 1000;
  const auto result = KvCache::create(wide, KvType::kF32, 2'000'000'000);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("bytes"), std::string::npos) << result.error().message;
}

TEST(KvCache, TypeNames) {
  for (const char* name : {"f16", "f32", "q8_0"}) EXPECT_EQ(kv_type_name(parse_kv_type(name).value()), name);
  EXPECT_FALSE(parse_kv_type("q4").ok());
}

}  // namespace
}  // namespace s3d
