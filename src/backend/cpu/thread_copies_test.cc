#include "backend/cpu/thread_copies.h"

#include <gtest/gtest.h>

#include <vector>

namespace s3d {
namespace {

using Rows = std::vector<int>;  // what was made of each row

// Makes row r of `n` into r + 1 and returns what each thread then sees.
std::vector<Rows> make_rows(ThreadCopies<Rows>& copies, ThreadPool& pool, size_t n, size_t cols) {
  const auto threads = static_cast<size_t>(pool.size());
  copies.prepare(n, cols, threads, [&](Rows& copy) { copy.assign(n, 0); });
  std::vector<Rows> seen(threads);
  pool.run([&](int thread, Team& team) {
    copies.each_row(team, [](Rows& copy, size_t r) { copy[r] += static_cast<int>(r) + 1; });
    seen[static_cast<size_t>(thread)] = copies.mine(team);
  });
  return seen;
}

size_t made(const ThreadCopies<Rows>& copies) {
  return copies.sum([](const Rows& copy) { return copy.size(); });
}

TEST(ThreadCopies, FewNumbersAreMadeByEveryThread) {
  ThreadPool pool(3);
  ThreadCopies<Rows> copies;
  EXPECT_EQ(make_rows(copies, pool, 4, 100), std::vector<Rows>(3, Rows{1, 2, 3, 4}));
  EXPECT_EQ(made(copies), 3 * 4);
}

TEST(ThreadCopies, ManyNumbersAreSharedOut) {
  ThreadPool pool(3);
  ThreadCopies<Rows> copies;
  EXPECT_EQ(make_rows(copies, pool, 4, 1 << 20), std::vector<Rows>(3, Rows{1, 2, 3, 4}));
  EXPECT_EQ(made(copies), 4);
}

// What a step does for all threads is done once for each row.
TEST(ThreadCopies, OneThreadIsFirst) {
  for (const size_t cols : {1, 1 << 20}) {
    ThreadPool pool(3);
    ThreadCopies<Rows> copies;
    copies.prepare(4, cols, 3, [](Rows&) {});
    std::vector<int> calls(4, 0);
    pool.run([&](int, Team& team) {
      const bool first = copies.is_first(team);
      copies.each_row(team, [&](Rows&, size_t r) {
        if (first) ++calls[r];
      });
    });
    EXPECT_EQ(calls, std::vector<int>(4, 1)) << cols;
  }
}

}  // namespace
}  // namespace s3d
