// The emulator finds what is planted here: it would be of no use otherwise.
#include "backend/cuda/emulator/emulator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "backend/cuda/emulator/cuda_on_cpu.h"
#include "base/index.h"

namespace s3d::emulator {
namespace {

Emulator& me() {
  return Emulator::current();
}
int* shared_ints() {
  return reinterpret_cast<int*>(me().shared());
}

// Reverses the numbers of a block through shared memory.
std::vector<int> reversed(uint64_t seed, bool with_barrier) {
  constexpr unsigned kThreads = 96;
  std::vector<int> out(kThreads);
  Emulator emulator(seed);
  emulator.launch({}, kThreads, kThreads * sizeof(int), [&] {
    const unsigned i = threadIdx.x;
    shared_ints()[i] = static_cast<int>(i);
    if (with_barrier) __syncthreads();
    out[i] = shared_ints()[kThreads - 1 - i];
  });
  return out;
}

TEST(Emulator, BarriersOrderSharedMemory) {
  std::vector<int> right(96);
  for (int i = 0; i < 96; ++i) right[i] = 95 - i;
  for (uint64_t seed = 0; seed < 20; ++seed) EXPECT_EQ(reversed(seed, true), right);
}

TEST(Emulator, FindsAMissingBarrier) {
  std::set<std::vector<int>> results;
  for (uint64_t seed = 0; seed < 20; ++seed) results.insert(reversed(seed, false));
  EXPECT_GT(results.size(), 10U) << "results of a race change with the order of the threads";
}

TEST(Emulator, ACaptureRunsNothingUntilItIsLaunched) {
  int runs = 0;
  Emulator emulator(4);
  emulator.begin_capture();
  emulator.launch({2, 1, 1}, 32, 0, [&] { ++runs; });
  emulator.launch({}, 32, 0, [&] { runs *= 1; });
  const std::vector<Emulator::Launch> captured = emulator.end_capture();
  EXPECT_EQ(runs, 0);
  ASSERT_EQ(captured.size(), 2U);
  for (int again = 1; again <= 2; ++again) {
    for (const Emulator::Launch& l : captured) emulator.launch(l.blocks, l.threads, l.shared_bytes, l.kernel);
    EXPECT_EQ(runs, 64 * again);
  }
}

TEST(Emulator, BlocksAndThreadsRunOnceEach) {
  std::vector<int> runs(5 * 3 * 64);
  std::vector<unsigned> order;
  Emulator emulator(3);
  emulator.launch({5, 3, 1}, 64, 0, [&] {
    const unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
    ++runs[block * blockDim.x + threadIdx.x];
    if (threadIdx.x == 0) order.push_back(block);
  });
  EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end())) << "blocks run in no order that a kernel could rely on";
}

TEST(Emulator, SharedMemoryBeginsAsNoNumber) {
  Emulator emulator(1);
  emulator.launch({2}, 32, 64, [&] {
    float x;
    std::memcpy(&x, me().shared() + threadIdx.x, sizeof x);
    EXPECT_NE(x, x);
    __syncthreads();
    me().shared()[threadIdx.x] = std::byte{0};  // the next block must not see it
  });
}

TEST(Emulator, WarpsExchangeValues) {
  Emulator emulator(4);
  emulator.launch({}, 64, 0, [&] {
    const unsigned lane = threadIdx.x % 32;
    EXPECT_EQ(me().shuffle(100 + threadIdx.x, lane ^ 5U, Where::current()), 100 + (threadIdx.x ^ 5U));
    EXPECT_EQ(me().ballot(lane % 3 == 0, Where::current()), 0x49249249U);
  });
}

TEST(EmulatorDeathTest, ThreadsThatMeetAtDifferentPlaces) {
  const auto diverging = [] {
    Emulator emulator(1);
    emulator.launch({}, 32, 0, [&] {
      if (threadIdx.x < 16) {
        __syncwarp();
      } else {
        __syncwarp();
      }
    });
  };
  EXPECT_DEATH(diverging(), "threads meet at different places; block \\(0, 0, 0\\)");
}

TEST(EmulatorDeathTest, ThreadsThatDoNotCome) {
  const auto waiting = [] {
    Emulator emulator(1);
    emulator.launch({}, 64, 0, [&] {
      if (threadIdx.x < 32) {
        __syncthreads();
      } else {
        while (me().ballot(true, Where::current()) != 0 && threadIdx.x % 32 != 7) {
        }
      }
    });
  };
  EXPECT_DEATH(waiting(), "do not come|after the end|different places");
}

TEST(EmulatorDeathTest, AThreadThatLeavesBeforeABarrier) {
  const auto leaving = [] {
    Emulator emulator(1);
    emulator.launch({}, 64, 0, [&] {
      if (threadIdx.x != 5) __syncthreads();
    });
  };
  EXPECT_DEATH(leaving(), "do not come|after the end");
}

// ---- Kernels that start early ---------------------------------------------------------------------------------------

// A kernel doubles what the one before it wrote, and reads it before or after it waits for that one.
int doubled(bool reads_early, bool watches) {
  alignas(16) int memory[2] = {1, 1};
  Emulator emulator(5);
  if (watches) emulator.watch(reinterpret_cast<std::byte*>(memory), sizeof memory);
  const auto launch = [&](const std::function<void()>& kernel) {
    emulator.launch(Emulator::Launch{{2}, 64, 0, kernel, /*early=*/true});
  };
  launch([&] {
    me().wait_for_previous(Where::current());
    if (threadIdx.x == 0) memory[blockIdx.x] = 20;
  });
  launch([&] {
    const int early = memory[blockIdx.x];
    me().wait_for_previous(Where::current());
    const int late = memory[blockIdx.x];
    if (threadIdx.x == 40) memory[blockIdx.x] = 2 * (reads_early ? early : late);
  });
  return memory[0] + memory[1];
}

TEST(Emulator, FindsAReadOfWhatTheKernelBeforeStillWrites) {
  EXPECT_EQ(doubled(/*reads_early=*/false, /*watches=*/true), 80);
  EXPECT_NE(doubled(/*reads_early=*/true, /*watches=*/true), 80);
  EXPECT_EQ(doubled(/*reads_early=*/true, /*watches=*/false), 80) << "what is not watched hides it";
}

TEST(EmulatorDeathTest, AKernelThatDoesNotWaitForTheOneBefore) {
  const auto hasty = [] {
    Emulator emulator(1);
    emulator.launch(Emulator::Launch{{},
                                     32,
                                     0,
                                     [] {
                                       if (threadIdx.x != 3) me().wait_for_previous(Where::current());
                                     },
                                     /*early=*/true});
  };
  EXPECT_DEATH(hasty(), "has not waited for the kernel before");
}

// ---- Asynchronous copies -------------------------------------------------------------------------------------------

// Two groups are copied; the sum is taken after a wait that leaves `open` of them open.
int copied_sum(size_t open) {
  alignas(16) static const int source[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  int sum = 0;
  Emulator emulator(1);
  emulator.launch({}, 32, 32, [&] {
    if (threadIdx.x != 0) return;
    me().copy_async(me().shared(), source, 16);
    me().commit_copies();
    me().copy_async(me().shared() + 16, source + 4, 16);
    me().commit_copies();
    me().wait_copies(open);
    sum = std::accumulate(shared_ints(), shared_ints() + 8, 0);
    me().wait_copies(0);
  });
  return sum;
}

TEST(Emulator, FindsALateWait) {
  EXPECT_EQ(copied_sum(0), 36);
  EXPECT_EQ(copied_sum(1), 10 - 4) << "the second group is not there yet";
}

TEST(EmulatorDeathTest, CopiesThatNobodyWaitsFor) {
  alignas(16) static const int source[4] = {};
  const auto forgetting = [] {
    Emulator emulator(1);
    emulator.launch({}, 32, 512, [&] { me().copy_async(me().shared() + threadIdx.x * 16, source, 16); });
  };
  EXPECT_DEATH(forgetting(), "before its asynchronous copies");
}

// ---- Matrix products -----------------------------------------------------------------------------------------------

// Bytes of A [m][k] and B [k][8] as numbers.
struct Matrices {
  std::vector<int> a, b;
};
Matrices random_matrices(int m, int k, bool signed_a) {
  std::mt19937 random(9);
  Matrices out;
  for (int i = 0; i < m * k; ++i)
    out.a.push_back(signed_a ? static_cast<int8_t>(random()) : static_cast<uint8_t>(random()));
  for (int i = 0; i < k * 8; ++i) out.b.push_back(static_cast<int8_t>(random()));
  return out;
}

// The product through fragments that are filled element by element, by the formulas for a_i, b_i and c_i of the PTX
// ISA. `swapped`: two registers of A change places, as a kernel with a wrong map would have them.
std::vector<int> product(MmaShape shape, bool signed_a, const Matrices& in, bool swapped = false) {
  const int k = shape == MmaShape::kM16N8K32 ? 32 : 16, m = shape == MmaShape::kM8N8K16 ? 8 : 16;
  std::vector<int> out(usize(m) * 8);
  Emulator emulator(2);
  emulator.launch({}, 32, 0, [&] {
    const int lane = static_cast<int>(threadIdx.x), group = lane >> 2, in_group = lane % 4;
    MmaFragment f;
    f.c.fill(1);
    for (int i = 0; i < m * k / 32; ++i) {  // a_i
      const bool upper_row = m == 16 && (k == 16 ? i >= 4 : (4 <= i && i < 8) || i >= 12);
      const int row = group + (upper_row ? 8 : 0), column = in_group * 4 + (i & 3) + (k == 32 && i >= 8 ? 16 : 0);
      f.a[usize(i / 4)] |= (static_cast<uint32_t>(in.a[usize(row * k + column)]) & 0xffU) << (i % 4 * 8);
    }
    for (int i = 0; i < k / 4; ++i) {  // b_i
      const int row = in_group * 4 + (i & 3) + (i >= 4 ? 16 : 0);
      f.b[usize(i / 4)] |= (static_cast<uint32_t>(in.b[usize(row * 8 + group)]) & 0xffU) << (i % 4 * 8);
    }
    if (swapped) std::swap(f.a[1], f.a[2]);
    me().multiply(shape, signed_a, f, Where::current());
    for (int i = 0; i < m / 4; ++i) {  // c_i
      out[usize((group + (i >= 2 ? 8 : 0)) * 8 + in_group * 2 + (i & 1))] = f.c[usize(i)];
    }
  });
  return out;
}

TEST(Emulator, MatrixProductsAreExact) {
  for (const bool signed_a : {false, true}) {
    for (const MmaShape shape : {MmaShape::kM8N8K16, MmaShape::kM16N8K16, MmaShape::kM16N8K32}) {
      const int k = shape == MmaShape::kM16N8K32 ? 32 : 16, m = shape == MmaShape::kM8N8K16 ? 8 : 16;
      const Matrices in = random_matrices(m, k, signed_a);
      const std::vector<int> out = product(shape, signed_a, in);
      for (int row = 0; row < m; ++row) {
        for (int column = 0; column < 8; ++column) {
          int sum = 1;
          for (int i = 0; i < k; ++i) sum += in.a[usize(row * k + i)] * in.b[usize(i * 8 + column)];
          ASSERT_EQ(out[usize(row * 8 + column)], sum) << row << ' ' << column;
        }
      }
    }
  }
}

TEST(Emulator, FindsASwappedRegister) {
  const Matrices in = random_matrices(16, 32, false);
  EXPECT_NE(product(MmaShape::kM16N8K32, false, in, true), product(MmaShape::kM16N8K32, false, in));
}

}  // namespace
}  // namespace s3d::emulator
