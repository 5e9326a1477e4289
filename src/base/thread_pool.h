// A team of threads that runs one function at a time, with barriers inside it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

namespace s3d {

class ThreadPool;

// What a function running on the pool sees of its team. Owned by the pool; one run() at a time uses it.
class Team {
 public:
  int size() const { return size_; }

  // Returns when every thread of the team has arrived. Writes before it are visible after it.
  void barrier() {
    barrier([] {});
  }

  // The same, and the thread that arrives last calls `last` before any returns: for a step too short to share.
  template <typename Last>
  void barrier(Last&& last) {
    if (size_ == 1) {
      last();
      return;
    }
    const unsigned phase = phase_.load(std::memory_order_relaxed);
    if (arrive()) {
      last();
      release(phase);
    } else {
      wait(phase);
    }
  }

  // Splits [0, count) into chunks, handed out in order to whoever is free, and calls body(begin, end). Chunks begin
  // large, half of what would be a thread's equal share of the rest, and shrink to `grain`: long runs keep the
  // memory's prefetchers going, short last ones let all threads end together.
  // Every thread of the team must call it with the same arguments; ends with a barrier. Which thread runs a chunk is
  // not fixed, so a result must not depend on it.
  template <typename Body>
  void for_chunks(size_t count, size_t grain, Body&& body) {
    for_chunks(count, grain, body, [] {});
  }

  // The same, ending with barrier(last).
  template <typename Body, typename Last>
  void for_chunks(size_t count, size_t grain, Body&& body, Last&& last) {
    const size_t step = grain == 0 ? 1 : grain;
    if (size_ == 1) {
      if (count > 0) body(size_t{0}, count);
      last();
      return;
    }
    for (size_t begin = 0, end = 0; claim(count, step, begin, end);) body(begin, end);
    barrier(last);
  }

 private:
  friend class ThreadPool;
  explicit Team(int size) : size_(size) {}
  // The next chunk; false when nothing is left.
  bool claim(size_t count, size_t least, size_t& begin, size_t& end) {
    begin = next_.load(std::memory_order_relaxed);
    do {
      if (begin >= count) return false;
      const size_t fair = (count - begin) / (2 * static_cast<size_t>(size_));
      end = std::min(count, begin + std::max(least, fair));
    } while (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
    return true;
  }
  bool arrive() { return arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_; }  // true for the last
  void release(unsigned phase);  // rewinds the chunk counter and lets the others go on
  void wait(unsigned phase);

  int size_;
  alignas(64) std::atomic<size_t> next_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> phase_{0};
};

// Threads wait by spinning for a short while (a pass is a chain of very short steps), then sleep.
// Thread rule: one run() at a time; the calling thread is thread 0 of the team.
class ThreadPool {
 public:
  // `threads` >= 1, the caller included. Where the system grants fewer (a limit of processes), size() tells.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Calls body(thread, team) on every thread of the pool and returns when all have returned.
  void run(const std::function<void(int thread, Team& team)>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Number of cores that this process may use.
int usable_cores();

}  // namespace s3d
