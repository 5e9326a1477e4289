// Angles of the rotary embedding for the rows of a pass.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/config.h"

namespace s3d {

// Thread rule: const after fill().
class RopeTable {
 public:
  // `config` as RopeConfig says: angle of pair i at position p = p * base^(-2i / dims) * scale / factor[i].
  explicit RopeTable(const RopeConfig& config);

  // Computes cosines and sines, in double precision and rounded once, for one position and set per row.
  void fill(std::span<const int> positions, std::span<const RopeSet> sets);

  size_t pairs() const { return frequency_[0].size(); }
  const float* cos(size_t row) const { return cos_.data() + row * pairs(); }  // [pairs]
  const float* sin(size_t row) const { return sin_.data() + row * pairs(); }
  size_t bytes() const { return (cos_.capacity() + sin_.capacity()) * sizeof(float); }

 private:
  std::vector<double> frequency_[2];  // [RopeSet][pairs]
  double magnitude_;
  std::vector<float> cos_, sin_;  // [rows][pairs]
};

}  // namespace s3d
