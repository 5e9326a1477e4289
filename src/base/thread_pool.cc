#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include "base/check.h"
#include "base/control_group.h"

namespace s3d {
namespace {

// How long a waiter spins before it sleeps. The steps between two barriers of a pass take 5 to 500 µs and end at nearly
// the same time on all threads; sleeping and waking costs 5 µs on bare metal and up to 50 µs in a virtual machine, so
// spinning about that long costs at most twice what the best choice would. Longer spinning would take the core from
// the very thread that is waited for when the machine is shared.
constexpr std::chrono::microseconds kSpin{50};
constexpr int kPausesPerClockRead = 32;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Wakes who sleeps until `value` changes, which it did. The fence: who sleeps is read next, and must not be read before
// the change is seen. It stands here, not in the store, because the line of `value` takes long to come, and the thread
// can look at others' meanwhile.
void wake(std::atomic<unsigned>& value) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  value.notify_all();
}

// Returns when `value` differs from `old`; what was written before the change is visible then.
void wait_until_changed(const std::atomic<unsigned>& value, unsigned old) {
  const auto give_up = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause();
    }
  } while (std::chrono::steady_clock::now() < give_up);
  while (value.load(std::memory_order_acquire) == old) {
    value.wait(old, std::memory_order_acquire);
  }
}

}  // namespace

bool Team::take(int owner, bool front, size_t count, size_t step, Range& chunk) {
  constexpr unsigned kCountBits = 24;
  constexpr uint64_t kCount = (uint64_t{1} << kCountBits) - 1;
  const Range share = share_of(static_cast<size_t>(owner), count);
  const size_t size = share.end - share.begin;
  S3D_CHECK(size <= kCount);
  std::atomic<uint64_t>& word = shared_->taken[static_cast<size_t>(owner)].word;
  uint64_t old = word.load(std::memory_order_relaxed);
  while (true) {
    const bool fresh = old >> (2 * kCountBits) != loop_;
    const size_t first = fresh ? 0 : old & kCount, last = fresh ? 0 : old >> kCountBits & kCount;
    const size_t left = size - first - last;
    const size_t n = std::min(left, front ? std::max(step, left / 2) : step);
    if (n == 0 && !(fresh && front)) return false;
    // The owner writes its word in every loop, also when it has no share: a number comes again after 65,536 loops.
    const uint64_t taken = (front ? first + n : first) | (front ? last : last + n) << kCountBits;
    if (!word.compare_exchange_weak(old, taken | uint64_t{loop_} << (2 * kCountBits), std::memory_order_relaxed))
      continue;
    if (n == 0) return false;
    chunk.begin = front ? share.begin + first : share.end - last - n;
    chunk.end = chunk.begin + n;
    return true;
  }
}

void Team::barrier() {
  if (size() == 1) return;
  ++met_;
  std::atomic<unsigned>& mine = barriers_of(thread_);
  mine.store(met_, std::memory_order_release);
  bool told = false;
  for (int i = 1; i < size(); ++i) {
    const int other = (thread_ + i) % size();
    if (has_arrived(other, met_)) continue;
    if (!told) wake(mine);
    told = true;
    wait_until_changed(barriers_of(other), met_ - 1);
  }
  if (!told) wake(mine);
}

struct ThreadPool::Impl {
  explicit Impl(int threads) : shared(threads) {
    for (int i = 0; i < threads; ++i) teams.push_back(Team(shared, i));
  }

  // Body of the threads that the pool starts.
  void serve(int thread) {
    for (unsigned seen = 0;; ++seen) {
      wait_until_changed(generation, seen);
      if (stop) return;
      run_body(thread);
    }
  }

  void run_body(int thread) {
    Team& team = teams[static_cast<size_t>(thread)];
    (*body)(thread, team);
    team.barrier();
  }

  void announce() {
    generation.fetch_add(1);  // sequentially consistent: notify_all() reads who sleeps after it
    generation.notify_all();
  }

  // For the pool's life: a slow thread may still be leaving the last barrier when run() has returned.
  Team::Shared shared;
  std::vector<Team> teams;
  const std::function<void(int, Team&)>* body = nullptr;  // written before `generation` changes
  bool stop = false;                                      // likewise
  std::atomic<bool> running{false};
  alignas(64) std::atomic<unsigned> generation{0};
  std::vector<std::thread> threads;
};

ThreadPool::ThreadPool(int threads) {
  S3D_CHECK(threads >= 1);
  impl_.reset(new Impl(threads));
  impl_->threads.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int i = 1; i < threads; ++i) {
      impl_->threads.emplace_back([impl = impl_.get(), i] { impl->serve(i); });
    }
  } catch (const std::system_error&) {
    // The system gives no more (a limit of processes): the threads that are here wait for the first run, and will be
    // the team.
  }
  impl_->shared.size = 1 + static_cast<int>(impl_->threads.size());
}

ThreadPool::~ThreadPool() {
  impl_->stop = true;
  impl_->announce();
  for (std::thread& thread : impl_->threads) thread.join();
}

int ThreadPool::size() const {
  return impl_->shared.size;
}

void ThreadPool::run(const std::function<void(int thread, Team& team)>& body) {
  S3D_CHECK(!impl_->running.exchange(true), "ThreadPool::run called while another run is in progress");
  impl_->body = &body;
  if (size() > 1) impl_->announce();
  impl_->run_body(0);
  impl_->running.store(false);
}

int usable_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cores = CPU_COUNT(&set);
  // A quota of 1.5 cores is best used by two threads.
  return std::max(1, static_cast<int>(std::min<double>(cores, std::ceil(control_group_cores()))));
}

}  // namespace s3d
