// One policy for indices. Sizes, counts, positions and indices that come from a file or a person are int: they fit, and
// differences of them may be negative. Memory has size_t. The conversion from int is silent inside of []; elsewhere it
// is written usize(n), and a container's size as an int is isize(c).
#pragma once

#include <concepts>
#include <cstddef>
#include <iterator>
#include <type_traits>

#include "base/check.h"

namespace s3d {

// A number that is not negative, for arithmetic on sizes and offsets.
constexpr size_t usize(std::integral auto n) {
  S3D_DCHECK(n >= 0);
  return static_cast<size_t>(n);
}

// The place of an enumeration's value in an array.
template <typename Enum>
requires std::is_enum_v<Enum>
constexpr size_t usize(Enum value) {
  return static_cast<size_t>(value);
}

// How many things a container holds; no container here comes near 2^31.
constexpr int isize(const auto& container) {
  return static_cast<int>(std::size(container));
}

}  // namespace s3d
