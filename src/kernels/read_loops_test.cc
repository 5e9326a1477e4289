#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/test_sets.h"

namespace s3d {
namespace {

// Every byte counts once, in every way of reading, whatever the number of lines leaves over.
TEST(ReadLoops, ReadEveryByte) {
  for (const size_t lines : {0, 1, 2, 3, 4, 7, 64, 67}) {
    std::vector<uint64_t> words(lines * 8);
    uint64_t expected = 0;
    for (size_t i = 0; i < words.size(); ++i) {
      words[i] = (i + 1) * 0x9E3779B97F4A7C15U;
      expected ^= words[i];
    }
    for (const Kernels* set : sets_for_tests()) {
      ASSERT_FALSE(set->read_loops.empty()) << set->name;
      for (const ReadLoop loop : set->read_loops) {
        EXPECT_EQ(loop(reinterpret_cast<const std::byte*>(words.data()), lines), expected) << set->name << " " << lines;
      }
    }
  }
}

}  // namespace
}  // namespace s3d
