#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "backend/cuda/test_device.h"
#include "backend/cuda/token_chooser.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

// What choose_row() gives, wherever the best tokens lie: equals, rows with fewer tokens than asked for, NaN, infinity.
TEST(ChooseKernel, ChoosesWhatTheHostChooses) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr int kRows = 7;
  for (const int width : {1, 31, 300, 1024, 1029, 3100}) {
    const auto device = make_test_device(usize(width));
    std::mt19937 random(3);
    std::vector<float> logits(usize(kRows * width));
    for (float& x : logits) x = static_cast<float>(random() % 500) / 10 - 60;  // equals occur, and none is above 0
    const auto row = [&](int r) { return std::span(logits).subspan(usize(r * width), usize(width)); };
    row(1)[random() % usize(width)] = kNan;
    row(2)[random() % usize(width)] = -kInfinity;
    row(3)[random() % usize(width)] = kInfinity;
    for (float& x : row(4)) x = -kInfinity;
    for (float& x : row(5)) x = x > -58 ? -kInfinity : x;
    for (float& x : row(6)) x = kNan;
    Buffer<float> on_device;
    ASSERT_TRUE(on_device.assign(*device, logits));
    for (const int best : {1, 5, 64}) {
      const ChoiceAsk ask = {.best = best, .sums = best != 5};
      Choices expected, found;
      expected.resize(kRows, ask);
      for (int r = 0; r < kRows; ++r) choose_row(row(r), ask, r, expected);
      TokenChooser chooser(*device);
      ASSERT_TRUE(chooser.prepare(kRows, width, ask).ok());
      chooser.start(on_device.data(), 0, 2);
      chooser.start(on_device.data() + 2 * width, 2, kRows - 2);
      ASSERT_TRUE(chooser.fetch(found).ok());
      EXPECT_EQ(found.tokens, expected.tokens) << width << ' ' << best;
      EXPECT_EQ(found.finite, expected.finite) << width << ' ' << best;
      ASSERT_EQ(found.sums.size(), expected.sums.size());
      EXPECT_EQ(std::memcmp(found.sums.data(), expected.sums.data(), found.sums.size() * sizeof(float)), 0) << width;
    }
  }
}

}  // namespace
}  // namespace s3d::cuda
