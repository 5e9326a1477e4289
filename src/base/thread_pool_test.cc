#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace s3d {
namespace {

// More threads than the machines that run the tests have cores: sleeping and waking happen too.
class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsBodyOncePerThread) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  std::vector<int> calls(static_cast<size_t>(pool.size()), 0);
  for (int round = 0; round < 100; ++round) {
    pool.run([&](int thread, Team& team) {
      EXPECT_EQ(team.size(), GetParam());
      ++calls[static_cast<size_t>(thread)];
    });
  }
  EXPECT_EQ(calls, std::vector<int>(calls.size(), 100));
}

TEST_P(ThreadPoolTest, BarrierMakesWritesVisible) {
  ThreadPool pool(GetParam());
  const size_t n = static_cast<size_t>(pool.size());
  std::vector<int> slots(n, 0);
  std::vector<int> wrong(n, 0);
  pool.run([&](int thread, Team& team) {
    for (int round = 1; round <= 300; ++round) {
      slots[static_cast<size_t>(thread)] = round;
      team.barrier();
      if (slots != std::vector<int>(n, round)) ++wrong[static_cast<size_t>(thread)];
      team.barrier();
    }
  });
  EXPECT_EQ(wrong, std::vector<int>(n, 0));
}

TEST_P(ThreadPoolTest, ChunksCoverTheRangeOnce) {
  ThreadPool pool(GetParam());
  for (size_t count : {0, 1, 7, 64, 1000}) {
    for (size_t grain : {0, 1, 3, 64, 5000}) {
      std::vector<int> hits(count, 0);
      pool.run([&](int, Team& team) {
        team.for_chunks(count, grain, [&](size_t begin, size_t end) {
          EXPECT_LT(begin, end);
          EXPECT_LE(end, count);
          for (size_t i = begin; i < end; ++i) ++hits[i];
        });
      });
      EXPECT_EQ(hits, std::vector<int>(count, 1)) << count << " by " << grain;
    }
  }
}

// A thread reads one long run of memory: it begins at the beginning of its own share. Nobody leaves the first chunk
// before all have one, so nobody can help yet.
TEST_P(ThreadPoolTest, ThreadsBeginAtTheirShares) {
  ThreadPool pool(GetParam());
  const size_t n = static_cast<size_t>(pool.size()), count = 10 * n + 3;
  std::vector<size_t> first(n, count);
  std::vector<Team::Range> shares(n);
  std::atomic<size_t> begun{0};
  pool.run([&](int thread, Team& team) {
    EXPECT_EQ(team.thread(), thread);
    const size_t t = static_cast<size_t>(thread);
    shares[t] = team.share(count);
    team.for_chunks(count, 1, [&](size_t begin, size_t) {
      if (first[t] != count) return;
      first[t] = begin;
      ++begun;
      while (begun < n) std::this_thread::yield();
    });
  });
  for (size_t t = 0; t < n; ++t) {
    EXPECT_EQ(first[t], shares[t].begin);
    EXPECT_EQ(shares[t].begin, t == 0 ? 0 : shares[t - 1].end);
  }
  EXPECT_EQ(shares.back().end, count);
}

// The loops' numbers, by which what was taken is told apart, come again after 65,536.
TEST(ThreadPoolLoops, MoreThanTheirNumbers) {
  ThreadPool pool(2);
  std::atomic<long> calls{0};
  constexpr long kLoops = 66000;
  pool.run([&](int, Team& team) {
    for (long i = 0; i < kLoops; ++i) {
      team.for_chunks(i % 3, 1, [&](size_t begin, size_t end) { calls += static_cast<long>(end - begin); });
    }
  });
  EXPECT_EQ(calls, kLoops);
}

// Each loop reads what the loop before it wrote: fails if a loop takes what was taken for another loop's, or starts
// before all of the last loop's chunks are done.
TEST_P(ThreadPoolTest, LoopsFollowEachOther) {
  ThreadPool pool(GetParam());
  constexpr size_t kCount = 37;
  constexpr int kLoops = 500;
  std::vector<long> a(kCount), b(kCount);
  std::iota(a.begin(), a.end(), 0L);
  pool.run([&](int, Team& team) {
    for (int loop = 0; loop < kLoops; ++loop) {
      std::vector<long>& from = loop % 2 == 0 ? a : b;
      std::vector<long>& to = loop % 2 == 0 ? b : a;
      team.for_chunks(kCount, 1 + static_cast<size_t>(loop % 4), [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) to[i] = from[(i + 1) % kCount] + 1;
      });
    }
  });
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(a[i], static_cast<long>((i + kLoops) % kCount) + kLoops);
  }
}

TEST_P(ThreadPoolTest, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 20; ++i) ThreadPool pool(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolTest, testing::Values(1, 2, 3, 8));

TEST(UsableCores, IsPositive) {
  EXPECT_GE(usable_cores(), 1);
}

}  // namespace
}  // namespace s3d
