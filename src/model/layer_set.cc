#include "model/layer_set.h"

#include <fmt/format.h>

#include <charconv>

namespace s3d {

Result<LayerSet> parse_layers(std::string_view text) {
  constexpr int kMax = 1 << 16;  // layers; a sum of two must fit an int
  LayerSet set{};
  const char* end = text.data() + text.size();
  const auto [plus, first] = std::from_chars(text.data(), end, set.first);
  if (first == std::errc{} && plus != end && *plus == '+') {
    const auto [rest, second] = std::from_chars(plus + 1, end, set.last);
    if (second == std::errc{} && rest == end && set.first >= 0 && set.last >= 0 && set.first <= kMax &&
        set.last <= kMax && set.count() > 0) {
      return set;
    }
  }
  return Error{fmt::format("'{}': expected A+Z, the numbers of first and last layers, as in 3+9", text)};
}

}  // namespace s3d
