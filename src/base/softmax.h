// The pieces of a softmax that sampler and drafters share; written for the compiler to make vector code of.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

namespace s3d::softmax {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
inline constexpr size_t kLanes = 16;  // independent running maxima or sums: vectors without reordering

// e^x for x <= 0, within 2 units in the last place; 0 below -87. Written out, and branch-free for the vectorizer:
// libm's expf takes four times as long over a vocabulary of 150,000, and its last bit depends on the machine, which
// would let a seed give different text on two of them. Method: x = k ln 2 + r, Taylor polynomial of e^r (Cody, Waite).
inline float exp_nonpositive(float x) {
  constexpr float kLog2E = 1.44269504F, kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float clamped = x > -87.0F ? x : -87.0F;
  const float shifted = clamped * kLog2E + kRound;
  const float k = shifted - kRound;
  const float r = (clamped - k * kLn2High) - k * kLn2Low;
  float p = 1.0F / 5040.0F;
  p = p * r + 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const auto exponent = (static_cast<uint32_t>(std::bit_cast<int32_t>(shifted)) + 127U) << 23U;
  const float value = p * std::bit_cast<float>(exponent);
  return x > -87.0F ? value : 0.0F;
}

// The largest value (NaN is skipped; minus infinity when nothing else is there), and whether every value is a finite
// number: x - x is 0 for those and NaN for all else.
struct LargestNumber {
  float value;
  bool all_finite;
};
inline LargestNumber largest_number_of(std::span<const float> values) {
  // Four vectors by name: of arrays of lanes g++ 12 makes code that takes four times as long.
  using Four [[gnu::vector_size(16)]] = float;
  constexpr size_t kVectors = kLanes / 4;
  Four best[kVectors], bad[kVectors] = {};
  for (Four& lanes : best) lanes = Four{} + kMinusInfinity;
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t j = 0; j < kVectors; ++j) {
      Four x;
      std::memcpy(&x, &values[i + 4 * j], sizeof x);
      best[j] = x > best[j] ? x : best[j];
      bad[j] += x - x;
    }
  }
  float largest = kMinusInfinity, sum = 0;
  for (size_t j = 0; j < kLanes; ++j) {
    largest = std::max(largest, best[j / 4][j % 4]);
    sum += bad[j / 4][j % 4];
  }
  for (; i < values.size(); ++i) {
    largest = values[i] > largest ? values[i] : largest;
    sum += values[i] - values[i];
  }
  return {largest, sum == 0};
}
inline float largest_of(std::span<const float> values) {
  return largest_number_of(values).value;
}

// Sum of e^(value - largest): the probability of a value is e^(value - largest) / that. Values are cut at every 1024th;
// value i of a piece belongs to sum i mod 16 of it, those are added in turn, and the pieces' sums in order: an order
// that other machines can follow side by side (docs/numerics.md).
inline constexpr size_t kSumPiece = 1024;
inline float sum_of_exp(std::span<const float> values, float largest) {
  float total = 0;
  for (size_t begin = 0; begin < values.size(); begin += kSumPiece) {
    const size_t end = std::min(values.size(), begin + kSumPiece);
    std::array<float, kLanes> sums{};
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (size_t j = 0; j < kLanes; ++j) sums[j] += exp_nonpositive(values[i + j] - largest);
    }
    for (size_t j = 0; i + j < end; ++j) sums[j] += exp_nonpositive(values[i + j] - largest);
    float sum = 0;
    for (const float part : sums) sum += part;
    total += sum;
  }
  return total;
}

}  // namespace s3d::softmax
