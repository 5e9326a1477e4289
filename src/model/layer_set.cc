#include "model/layer_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace s3d {

LayerSet default_draft_layers(int n_layers) {
  const int first = std::max(1, (n_layers + 5) / 10);
  return {first, std::min(std::max(1, (3 * n_layers + 5) / 10), n_layers - first)};
}

Result<LayerSet> parse_layer_set(const std::string& text) {
  constexpr int kMaxLayers = 1 << 16;  // a sum of two must fit an int
  LayerSet set;
  const char* end = text.data() + text.size();
  const auto [plus, first] = std::from_chars(text.data(), end, set.first);
  if (first == std::errc{} && plus != end && *plus == '+') {
    const auto [rest, second] = std::from_chars(plus + 1, end, set.last);
    const auto fits = [](int n) { return n >= 0 && n <= kMaxLayers; };
    if (second == std::errc{} && rest == end && fits(set.first) && fits(set.last) && set.count() > 0) return set;
  }
  return Error{fmt::format("'{}': expected A+Z, the numbers of first and last layers, as in 3+9", text)};
}

}  // namespace s3d
