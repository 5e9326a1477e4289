#include "base/environment.h"

#include <cstdlib>
#include <string_view>

namespace s3d {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return "";
  constexpr std::string_view kBlanks = " \t\r\n\f\v";
  const std::string_view text = value;
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1));
}

std::string without_end_slashes(std::string text) {
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

}  // namespace s3d
