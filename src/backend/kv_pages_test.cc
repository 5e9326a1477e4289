#include "backend/kv_pages.h"

#include <gtest/gtest.h>

#include <vector>

namespace s3d {
namespace {

constexpr int kPage = KvPages::kPageTokens;

std::vector<int> pages_of(const KvPages& pages, SeqId seq) {
  return {pages.pages(seq).begin(), pages.pages(seq).end()};
}

TEST(KvPages, UsedPagesAreTakenFirst) {
  KvPages pages(5);
  const SeqId a = pages.add();
  ASSERT_TRUE(pages.reserve(a, 3 * kPage).ok());
  EXPECT_EQ(pages_of(pages, a), (std::vector<int>{0, 1, 2}));
  pages.commit(a, kPage + 1);
  EXPECT_EQ(pages_of(pages, a), (std::vector<int>{0, 1}));
  const SeqId b = pages.add();
  ASSERT_TRUE(pages.reserve(b, kPage + 1).ok());
  EXPECT_EQ(pages_of(pages, b), (std::vector<int>{2, 3}));
  EXPECT_EQ(pages.free_pages(), 1);
}

TEST(KvPages, OnlyAPageThatIsSharedAndWrittenIsCopied) {
  KvPages pages(5);
  const SeqId a = pages.add();
  ASSERT_TRUE(pages.reserve(a, kPage + 6).ok());
  pages.commit(a, kPage + 6);
  const SeqId b = pages.copy(a);
  EXPECT_EQ(pages.pages_to_reserve(b, 3), 1);
  const auto copies = pages.reserve(b, 3);
  ASSERT_TRUE(copies.ok());
  ASSERT_EQ(copies->size(), 1U);
  EXPECT_EQ(copies->front().from, 1);
  EXPECT_EQ(copies->front().to, 2);
  EXPECT_EQ(pages_of(pages, b), (std::vector<int>{0, 2}));
  EXPECT_TRUE(pages.reserve(b, 3)->empty()) << "it is alone on its page";
  EXPECT_TRUE(pages.reserve(a, 3)->empty());
  pages.remove(a);
  EXPECT_EQ(pages.free_pages(), 3);
}

TEST(KvPages, APathIsAListOfMoves) {
  KvPages pages(3);
  const SeqId seq = pages.add();
  ASSERT_TRUE(pages.reserve(seq, 60).ok());
  pages.commit(seq, 60);
  ASSERT_TRUE(pages.reserve(seq, 10).ok());
  const std::vector<KvMove> moves = pages.commit_path(seq, std::vector<int>{0, 2, 3, 4, 9});
  ASSERT_EQ(moves.size(), 4U) << "the first stays where it is";
  const auto expect = [&](size_t i, int from_page, int from, int to_page, int to) {
    EXPECT_EQ(moves[i].from_page, from_page);
    EXPECT_EQ(moves[i].from, from);
    EXPECT_EQ(moves[i].to_page, to_page);
    EXPECT_EQ(moves[i].to, to);
  };
  expect(0, 0, 62, 0, 61);
  expect(1, 0, 63, 0, 62);
  expect(2, 1, 0, 0, 63);
  expect(3, 1, 5, 1, 0);
  EXPECT_EQ(pages.length(seq), 65);
}

TEST(KvPages, AFullPoolChangesNothing) {
  KvPages pages(2);
  const SeqId seq = pages.add();
  ASSERT_TRUE(pages.reserve(seq, kPage).ok());
  pages.commit(seq, kPage);
  const auto full = pages.reserve(seq, kPage + 1);
  ASSERT_FALSE(full.ok());
  EXPECT_NE(full.error().message.find("128 positions in all, 64 in use, 128 more wanted for 65 rows"),
            std::string::npos)
      << full.error().message;
  EXPECT_EQ(pages_of(pages, seq), std::vector<int>{0});
  EXPECT_EQ(pages.available(seq, 1), kPage);
}

}  // namespace
}  // namespace s3d
