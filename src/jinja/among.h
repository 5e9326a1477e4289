// Lists of names in the source: tags, filters, methods.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace s3d::jinja {

// `names`: an array of string views.
template <typename Names>
bool among(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace s3d::jinja
