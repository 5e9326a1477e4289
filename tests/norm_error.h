// How far two vectors are apart, relative to the size of what they say: the measure of docs/numerics.md.
#pragma once

#include <cmath>
#include <numeric>
#include <span>

namespace s3d {

// |(a - mean a) - (b - mean b)| / |b - mean b|: the distance of two rows of logits, of which a constant is free.
template <typename A, typename B>
double logits_error(std::span<const A> a, std::span<const B> b) {
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / static_cast<double>(a.size());
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / static_cast<double>(b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a, y = b[i] - mean_b;
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return std::sqrt(difference / size);
}

}  // namespace s3d
