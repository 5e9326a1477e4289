// Runs CUDA kernels on the CPU, for tests: one fiber for each thread of a block.
//
// It is made to find what a run on a CPU would hide:
//   - Blocks, and the threads of a block between two meetings (barriers, warp operations), run in an order drawn from a
//     seed. A result that changes with the seed lacks a barrier.
//   - A block's shared memory begins with the bytes 0xff, which are not a number, and ends where the launch says, so
//   that
//     AddressSanitizer sees an access beyond it.
//   - An asynchronous copy arrives at the wait that covers it and not before; until then its target holds 0xff.
//   - Threads of a warp that meet at different operations, and meetings to which not all come, end the program with a
//     message that names the threads and the lines. So does a thread of a kernel that may start before the one before
//     it has ended, and that never waits for it.
//   - Of watched memory, what the kernel before wrote is 0xff until all threads of a block have waited for it.
// It does not find: races between blocks, weak ordering of memory, what a compiler does to floats (docs/gpu.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/emulator/fiber.h"
#include "backend/cuda/emulator/mma.h"

namespace s3d::emulator {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

using Where = std::source_location;

// Thread rule: one launch at a time, and all launches by one thread.
class Emulator {
 public:
  explicit Emulator(uint64_t seed) : random_(seed) {}
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  struct Launch {
    Dim blocks;
    unsigned threads;  // a multiple of 32
    size_t shared_bytes;
    std::function<void()> kernel;  // with its task, as it was when it was started
    bool early = false;            // it may start before the launch before it has ended (device_code.h)
  };

  // Runs the kernel once for each thread of each block; returns when all are done.
  void launch(const Launch& launch);
  void launch(Dim blocks, unsigned threads, size_t shared_bytes, std::function<void()> kernel) {
    launch(Launch{blocks, threads, shared_bytes, std::move(kernel)});
  }

  // Between the two, launches are not run but noted.
  void begin_capture();
  std::vector<Launch> end_capture();

  // Without the matrix instruction of 32 columns, as cards of compute capability 7.5 are.
  bool turing = false;

  // Memory of which an early kernel must read nothing that the kernel before it wrote, until it has waited. The host
  // that writes or reads memory says so: it waits for all kernels, and the next one is early no more.
  void watch(std::byte* memory, size_t bytes);
  void forget(const std::byte* memory);
  void all_ended() { changes_.clear(); }

  // ---- Faults that a test plants into the kernels ----
  // A barrier of a block or of a warp in the source, as "file:line", which is left out. Empty: none.
  std::string left_out_barrier;
  bool swaps_registers = false;                                        // of A, in each matrix instruction of 32 columns
  const std::set<std::string>& barriers() const { return barriers_; }  // that were met since notes_barriers was set
  bool notes_barriers = false;

  // ---- For a kernel, by way of emulator/cuda_on_cpu.h: of the thread that runs ----
  static Emulator& current();  // the one whose kernel runs on this thread of the CPU
  Dim block_index() const { return block_; }
  Dim block_count() const { return blocks_; }
  unsigned thread_index() const { return running_; }
  unsigned thread_count() const { return static_cast<unsigned>(lanes_.size()); }
  std::byte* shared() const { return shared_.get(); }

  void sync_block(Where where);
  void sync_warp(Where where);
  void wait_for_previous(Where where);                           // until the launch before has ended
  uint32_t shuffle(uint32_t value, unsigned from, Where where);  // `value` of lane `from` of the warp
  uint32_t ballot(bool vote, Where where);
  void multiply(MmaShape shape, bool signed_a, MmaFragment& fragment, Where where);

  void copy_async(void* shared, const void* global, size_t bytes);
  void commit_copies();
  void wait_copies(size_t open_groups);  // all but the last `open_groups` groups arrive

 private:
  enum class Meeting : uint8_t { kNone, kBlock, kWarp, kShuffle, kBallot, kMultiply, kPrevious };
  static bool is_of_block(Meeting meeting) { return meeting == Meeting::kBlock || meeting == Meeting::kPrevious; }
  struct Copy {
    void* to;
    const void* from;
    size_t bytes;
  };
  struct Lane {
    Fiber fiber;
    Meeting at = Meeting::kNone;
    unsigned line = 0;    // of the meeting
    bool waited = false;  // for the launch before
    uint32_t value = 0, from = 0;
    MmaShape shape{};
    bool signed_a = false;
    std::vector<std::vector<Copy>> copies;  // groups, the oldest first; the last one is open
  };
  struct Warp {
    unsigned arrived = 0;
    std::vector<unsigned> ready;  // threads that could run
    std::array<MmaFragment, 32> fragments;
  };

  struct Memory {
    std::byte* begin;
    std::vector<std::byte> before;  // the launch in progress
  };
  struct Change {
    std::byte* byte;
    std::byte value;  // while it is hidden
  };

  void run_blocks(const Launch& launch);
  void run_block(const Launch& launch);
  void note_memory();
  void find_changes();
  void hide_changes();
  void show_changes();
  bool is_left_out(Where where);
  void meet(Meeting meeting, Where where);
  void release(unsigned first, unsigned count);
  void finish_warp(unsigned warp);
  [[noreturn]] void report(const char* what) const;
  static void run_thread(void* self);
  unsigned draw(unsigned below);
  void draw_order();
  bool take_ready();

  uint64_t random_;
  bool captures_ = false;
  std::vector<Launch> captured_;
  const std::function<void()>* kernel_ = nullptr;
  Dim block_, blocks_;
  unsigned running_ = 0;
  std::vector<Lane> lanes_;
  std::vector<Warp> warps_;
  std::vector<unsigned> order_;  // of the warps
  bool at_one_pace_ = true;
  unsigned in_barrier_ = 0, done_ = 0;
  std::unique_ptr<std::byte[]> shared_;
  std::vector<Memory> watched_;
  std::vector<Change> changes_;  // by the launch before
  std::set<std::string> barriers_;
  std::byte* stacks_ = nullptr;
  size_t stack_count_ = 0;
};

}  // namespace s3d::emulator
