// A hash of one number.
#pragma once

#include <cstdint>

namespace s3d {

// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): a bijection, of which every bit of the result depends on
// every bit of `x`.
inline uint64_t splitmix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace s3d
