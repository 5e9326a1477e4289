#include "backend/cpu/rope_table.h"

#include <cmath>

namespace s3d {

RopeTable::RopeTable(const RopeConfig& config) : magnitude_(config.magnitude) {
  for (const RopeSet set : {RopeSet::kShort, RopeSet::kLong}) {
    const std::vector<float>& factors = config.factors_of(set);
    std::vector<double>& frequency = frequency_[static_cast<size_t>(set)];
    frequency.resize(static_cast<size_t>(config.dims / 2));
    for (size_t i = 0; i < frequency.size(); ++i) {
      const double factor = factors.empty() ? 1.0 : factors[i];
      frequency[i] = std::pow(static_cast<double>(config.base), -2.0 * static_cast<double>(i) / config.dims) *
                     config.scale / factor;
    }
  }
}

void RopeTable::fill(std::span<const int> positions, std::span<const RopeSet> sets) {
  cos_.resize(positions.size() * pairs());
  sin_.resize(positions.size() * pairs());
  size_t at = 0;
  for (size_t row = 0; row < positions.size(); ++row) {
    for (const double frequency : frequency_[static_cast<size_t>(sets[row])]) {
      const double angle = positions[row] * frequency;
      cos_[at] = static_cast<float>(std::cos(angle) * magnitude_);
      sin_[at] = static_cast<float>(std::sin(angle) * magnitude_);
      ++at;
    }
  }
}

}  // namespace s3d
