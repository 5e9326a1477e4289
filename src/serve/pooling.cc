#include "serve/pooling.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "base/index.h"

namespace s3d::serve {
namespace {

template <typename T>
double square_sum(const T& values) {
  return std::accumulate(values.begin(), values.end(), 0.0, [](double sum, double v) { return sum + v * v; });
}

}  // namespace

HiddenPool::HiddenPool(const Model& model, Pooling pooling, int tokens)
    : model_(model), pooling_(pooling), tokens_(tokens), sum_(usize(model.config.d_model)) {}

// The output norm, in double; a factor that all its weights share does not matter in the end.
void HiddenPool::add(int position, std::span<const float> hidden) {
  if (position < from() || position >= tokens_) return;
  if (position == from()) sum_.assign(sum_.size(), 0.0);
  const double mean = square_sum(hidden) / static_cast<double>(hidden.size());
  const double scale = 1 / std::sqrt(mean + static_cast<double>(model_.config.norm_eps));
  for (size_t i = 0; i < hidden.size(); ++i) {
    sum_[i] += static_cast<double>(hidden[i]) * scale * static_cast<double>(model_.output_norm[i]);
  }
}

Result<std::vector<float>> HiddenPool::vector() const {
  const double length = std::sqrt(square_sum(sum_));
  if (!std::isfinite(length) || length == 0) {
    return Error{
        fmt::format("{}: the hidden states of the text are no numbers, or all zero: the file is damaged or was "
                    "converted wrongly",
                    model_.config.name)};
  }
  std::vector<float> vector;
  for (const double value : sum_) vector.push_back(static_cast<float>(value / length));
  return vector;
}

}  // namespace s3d::serve
