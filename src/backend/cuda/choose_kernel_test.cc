#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "backend/cuda/buffer.h"
#include "backend/cuda/test_device.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

// As std::max_element: the first of the largest, wherever it lies.
TEST(ChooseKernel, FirstOfTheLargest) {
  for (const int vocab : {1, 31, 300, 1029}) {
    const auto device = make_test_device(usize(vocab));
    constexpr int kRows = 5;
    std::mt19937 random(3);
    std::vector<float> logits(usize(kRows * vocab));
    for (float& x : logits) x = static_cast<float>(random() % 50) - 60;  // equals occur, and none is above 0
    std::vector<int32_t> expected;
    for (int r = 0; r < kRows; ++r) {
      const auto row = logits.begin() + r * vocab;
      expected.push_back(static_cast<int32_t>(std::max_element(row, row + vocab) - row));
    }
    Buffer<float> on_device;
    Buffer<int32_t> best;
    ASSERT_TRUE(on_device.assign(*device, logits) && best.ensure(*device, kRows));
    device->kernels().choose(device->stream(),
                             {.logits = on_device.data(), .n = kRows, .vocab = vocab, .best = best.data()});
    EXPECT_EQ(best.download(kRows), expected) << vocab;
  }
}

}  // namespace
}  // namespace s3d::cuda
