// A team of threads that runs one function at a time, with barriers inside it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace s3d {

class ThreadPool;

// What a function running on the pool sees of its team: one object a thread. Owned by the pool; one run() at a time
// uses it.
class alignas(64) Team {
 public:
  struct Range {
    size_t begin, end;
  };

  int size() const { return shared_->size; }
  int thread() const { return thread_; }  // of the caller, from 0

  // The equal share of the calling thread in [0, count): where for_chunks lets it begin.
  Range share(size_t count) const { return share_of(static_cast<size_t>(thread_), count); }

  // Returns when every thread of the team has arrived. Writes before it are visible after it.
  void barrier();

  // Splits [0, count) into equal shares, one for each thread, and a share into chunks; calls body(begin, end). A thread
  // takes the chunks of its own share in order, each half of what is left but at least `grain`: it reads one long run
  // of memory, and every start elsewhere costs up to a microsecond until the prefetchers have caught up
  // (docs/kernels.md, "One row"). When nothing is left it helps others from the end of their shares, `grain` at a time.
  // Every thread of the team must call it with the same arguments; ends with a barrier. Which thread runs a chunk is
  // not fixed, so a result must not depend on it.
  template <typename Body>
  void for_chunks(size_t count, size_t grain, Body&& body) {
    const size_t step = std::max<size_t>(1, grain);
    if (size() == 1) {
      if (count > 0) body(size_t{0}, count);
      return;
    }
    ++loop_;
    Range chunk{};
    while (take(thread_, /*front=*/true, count, step, chunk)) body(chunk.begin, chunk.end);
    for (int i = 1; i < std::min(size(), kHelped + 1); ++i) {
      const int owner = (thread_ + i) % size();
      if (has_arrived(owner, met_ + 1)) continue;  // nothing is left there
      while (take(owner, /*front=*/false, count, step, chunk)) body(chunk.begin, chunk.end);
    }
    barrier();
  }

 private:
  friend class ThreadPool;
  // Of how many others a thread looks at the shares: each look is a cache miss.
  static constexpr int kHelped = 8;

  // What has been taken of a thread's share in one loop: from its front by the thread, from its back by helpers. One
  // word: the loop's number (16 bits), then the two counts. A word of another loop means that nothing was taken.
  struct alignas(64) Taken {
    std::atomic<uint64_t> word{0};
  };
  // How many barriers a thread has come to. Each thread writes a line of its own and reads the others': the one that
  // comes last waits for one line from another core. With a common counter it waited for three, one after the other.
  struct alignas(64) Arrived {
    std::atomic<unsigned> barriers{0};
  };
  struct Shared {
    explicit Shared(int n) : size(n), taken(static_cast<size_t>(n)), arrived(taken.size()) {}
    int size;
    std::vector<Taken> taken;      // [size]
    std::vector<Arrived> arrived;  // [size]
  };
  Team(Shared& shared, int thread) : shared_(&shared), thread_(thread) {}

  Range share_of(size_t thread, size_t count) const {
    const auto n = static_cast<size_t>(size());
    return {count * thread / n, count * (thread + 1) / n};
  }
  // The next chunk of a share, from its front or its back; false when nothing is left.
  bool take(int owner, bool front, size_t count, size_t step, Range& chunk);
  std::atomic<unsigned>& barriers_of(int thread) { return shared_->arrived[static_cast<size_t>(thread)].barriers; }
  // True if the thread has come to the `barrier`-th one: it is at most one ahead or behind, and the count may wrap.
  bool has_arrived(int thread, unsigned barrier) {
    return static_cast<int>(barriers_of(thread).load(std::memory_order_acquire) - barrier) >= 0;
  }

  Shared* shared_;
  int thread_;
  uint16_t loop_ = 0;  // the same on all threads of the team: they all call for_chunks in the same order
  unsigned met_ = 0;   // barriers that this thread has passed
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
