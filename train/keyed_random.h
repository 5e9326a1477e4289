// Random numbers without a running generator: each is a function of a key, so that a run that was stopped and resumed,
// or shared among machines, draws the same ones.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/splitmix64.h"

namespace s3d::train {

// One number of 64 random bits for each list of numbers.
template <typename... Keys>
uint64_t keyed(uint64_t seed, Keys... keys) {
  uint64_t state = splitmix64(seed);
  ((state = splitmix64(state ^ splitmix64(static_cast<uint64_t>(keys)))), ...);
  return state;
}

inline uint64_t key_of(std::string_view text) {
  uint64_t state = text.size();
  for (const char c : text) state = splitmix64(state ^ static_cast<unsigned char>(c));
  return state;
}

// In (0, 1).
inline double uniform(uint64_t bits) {
  return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
}

// Normally distributed, by the formula of Box and Muller.
inline float normal(uint64_t bits) {
  const double radius = std::sqrt(-2 * std::log(uniform(bits)));
  return static_cast<float>(radius * std::cos(6.283185307179586 * uniform(splitmix64(bits))));
}

}  // namespace s3d::train
