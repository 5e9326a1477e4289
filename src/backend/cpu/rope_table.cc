#include "backend/cpu/rope_table.h"

#include <cmath>

namespace s3d {

RopeTable::RopeTable(const RopeConfig& config)
    : frequency_(static_cast<size_t>(config.dims / 2)), magnitude_(config.magnitude) {
  for (size_t i = 0; i < frequency_.size(); ++i) {
    const double factor = config.factors.empty() ? 1.0 : config.factors[i];
    frequency_[i] =
        std::pow(static_cast<double>(config.base), -2.0 * static_cast<double>(i) / config.dims) * config.scale / factor;
  }
}

void RopeTable::fill(std::span<const int> positions) {
  cos_.resize(positions.size() * pairs());
  sin_.resize(positions.size() * pairs());
  size_t at = 0;
  for (const int position : positions) {
    for (const double frequency : frequency_) {
      const double angle = position * frequency;
      cos_[at] = static_cast<float>(std::cos(angle) * magnitude_);
      sin_[at] = static_cast<float>(std::sin(angle) * magnitude_);
      ++at;
    }
  }
}

}  // namespace s3d
