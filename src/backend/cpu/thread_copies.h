// What is made row by row between two matrices of a pass, and read in full by every thread.
#pragma once

#include <cstddef>
#include <vector>

#include "base/thread_pool.h"

namespace s3d {

// Either the threads share the rows out and meet at a barrier, or each makes all rows in a copy of its own: a line that
// another core made takes as long to come as a hundred numbers take to be made, and the barrier takes longer still.
// Thread rule: prepare() by one thread, before the pass; the others by every thread of the team.
template <typename T>
class ThreadCopies {
 public:
  // For `n` rows of `cols` numbers; prepare_copy(T&) is called for each copy that the pass uses.
  void prepare(size_t n, size_t cols, size_t threads, auto prepare_copy) {
    n_ = n;
    const size_t share = (n + threads - 1) / threads;
    own_ = (n - share) * cols <= kMostRepeated;
    if (copies_.size() < threads) copies_.resize(threads);
    for (size_t i = 0; i < (own_ ? threads : 1); ++i) prepare_copy(copies_[i]);
  }

  // The copy that the calling thread reads.
  T& mine(const Team& team) { return copies_[own_ ? static_cast<size_t>(team.thread()) : 0]; }

  // Calls step(copy, r) for each row; when it returns, the calling thread may read all rows of mine(). `team` must have
  // met since what `step` reads was written.
  void each_row(Team& team, auto step) {
    T& copy = mine(team);
    if (own_) {
      for (size_t r = 0; r < n_; ++r) step(copy, r);
      return;
    }
    team.for_chunks(n_, 1, [&](size_t r, size_t end) {
      for (; r < end; ++r) step(copy, r);
    });
  }

  // True for one thread of the team only, or where rows are shared out: what a step does for all threads.
  bool is_first(const Team& team) const { return !own_ || team.thread() == 0; }

  size_t sum(auto bytes_of) const {
    size_t total = 0;
    for (const T& copy : copies_) total += bytes_of(copy);
    return total;
  }

 private:
  // Numbers that a thread makes although another makes them too.
  static constexpr size_t kMostRepeated = 8192;

  std::vector<T> copies_;
  size_t n_ = 0;
  bool own_ = false;
};

}  // namespace s3d
