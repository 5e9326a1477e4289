#include "text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "text/utf8.h"

namespace s3d {
namespace {

// Characters below U+0300 are composed and take no part in a composition with each other.
bool is_surely_composed(std::string_view text) {
  constexpr uint8_t kLeadOfU0300 = 0xCC;
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) >= kLeadOfU0300; });
}

int combining_class(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

std::vector<int32_t> decompose(std::string_view text) {
  std::vector<int32_t> out;
  out.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  constexpr utf8proc_ssize_t kMostParts = 8;  // of one character; the most in Unicode is 4
  int32_t parts[kMostParts];
  int last_boundary = 0;
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t code_point = 0;
    const auto length = utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code_point);
    S3D_CHECK(length > 0, "text that is not UTF-8");
    at += static_cast<size_t>(length);
    const auto count =
        utf8proc_decompose_char(code_point, parts, kMostParts,
                                static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &last_boundary);
    S3D_CHECK(count > 0 && count <= kMostParts);
    out.insert(out.end(), parts, parts + count);
  }
  return out;
}

// Marks after a character in the order of their classes. utf8proc's own way of doing it takes quadratic time.
void order_marks(std::vector<int32_t>& code_points) {
  const auto is_mark = [](int32_t c) { return combining_class(c) != 0; };
  auto begin = std::find_if(code_points.begin(), code_points.end(), is_mark);
  while (begin != code_points.end()) {
    const auto end = std::find_if_not(begin, code_points.end(), is_mark);
    std::stable_sort(begin, end, [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    begin = std::find_if(end, code_points.end(), is_mark);
  }
}

}  // namespace

std::optional<std::string> compose(std::string_view text) {
  if (is_surely_composed(text)) return std::nullopt;
  std::vector<int32_t> code_points = decompose(text);
  order_marks(code_points);
  const auto length = utf8proc_normalize_utf32(code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
                                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  S3D_CHECK(length > 0 && length <= static_cast<utf8proc_ssize_t>(code_points.size()));
  code_points.resize(static_cast<size_t>(length));
  std::string out;
  out.reserve(text.size());
  for (const int32_t code_point : code_points) out += utf8_encode(static_cast<char32_t>(code_point));
  return out;
}

}  // namespace s3d
