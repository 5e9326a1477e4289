#include "jinja/text_functions.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

constexpr size_t kNowhere = std::string_view::npos;

// Each character through `change(out, character, is the first of a word)`. `begins(c)`: the next character begins a
// word.
template <typename Change, typename Begins>
MarkedText by_character(const MarkedText& text, Change change, Begins begins) {
  MarkedText out;
  bool first = true;
  for (const Span& span : text.spans()) {
    std::string piece;
    for (size_t i = span.begin; i < span.end;) {
      const Character c = first_character(text.view().substr(i, span.end - i));
      i += c.length;
      change(piece, c.code, first);
      first = begins(c.code);
    }
    out.append(piece, span.from_template);
  }
  out.set_markup(text.markup());
  return out;
}

void word_case(std::string& out, char32_t c, bool first) {
  first ? append_upper(out, c) : append_lower(out, c);
}

bool never(char32_t) {
  return false;
}

bool in_set(std::string_view set, char32_t c) {
  for (size_t i = 0; i < set.size();) {
    const Character member = first_character(set.substr(i));
    if (member.code == c) return true;
    i += member.length;
  }
  return false;
}

}  // namespace

MarkedText uppercase(const MarkedText& text) {
  return by_character(
      text, [](std::string& out, char32_t c, bool) { append_upper(out, c); }, never);
}

MarkedText lowercase(const MarkedText& text) {
  return by_character(
      text, [](std::string& out, char32_t c, bool) { append_lower(out, c); }, never);
}

MarkedText capitalized(const MarkedText& text) {
  return by_character(text, word_case, never);
}

MarkedText title_by_letters(const MarkedText& text) {
  return by_character(text, word_case, [](char32_t c) { return !is_letter(c); });
}

MarkedText title_by_words(const MarkedText& text) {
  return by_character(text, word_case, [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  });
}

MarkedText stripped(const MarkedText& text, const MarkedText* chars, bool left, bool right) {
  const auto removable = [&](char32_t c) { return chars == nullptr ? is_space(c) : in_set(chars->view(), c); };
  size_t begin = 0;
  size_t end = text.size();
  while (left && begin < end) {
    const Character c = first_character(text.view().substr(begin));
    if (!removable(c.code)) break;
    begin += c.length;
  }
  while (right && begin < end) {
    const Character c = last_character(text.view().substr(begin, end - begin));
    if (!removable(c.code)) break;
    end -= c.length;
  }
  return text.substr(begin, end);
}

size_t find_bytes(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return kNowhere;
  if (needle.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found == nullptr ? kNowhere : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

MarkedText replaced(const MarkedText& text, const MarkedText& old, const MarkedText& with, int64_t count,
                    Budget& budget) {
  MarkedText out;
  out.set_markup(text.markup());
  size_t copied = 0;
  size_t at = 0;
  for (int64_t n = 0; count < 0 || n < count; ++n) {
    at = find_bytes(text.view(), old.view(), at);
    if (at == kNowhere || !budget.take_bytes(at - copied + with.size() + 1)) break;
    out.append(text, copied, at);
    out.append(with);
    copied = at + old.size();
    at = copied;
    if (!old.empty()) continue;
    if (at >= text.size()) break;
    at += first_character(text.view().substr(at)).length;  // an empty text lies between all characters
  }
  budget.take_bytes(text.size() - copied);
  out.append(text, copied, text.size());
  return out;
}

std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends) {
  std::vector<MarkedText> out;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const Character c = first_character(text.view().substr(i));
    const size_t end = i;
    i += c.length;
    if (!is_line_end(c.code)) continue;
    if (c.code == '\r' && i < text.size() && text.bytes()[i] == '\n') ++i;
    out.push_back(text.substr(begin, keep_ends ? i : end));
    begin = i;
  }
  if (begin < text.size()) out.push_back(text.substr(begin, text.size()));
  return out;
}

std::vector<MarkedText> split(const MarkedText& text, const MarkedText* separator, int64_t most, Budget& budget) {
  std::vector<MarkedText> out;
  size_t begin = separator == nullptr ? space_prefix(text.view()) : 0;
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    if (!budget.take_bytes(sizeof(MarkedText) + sizeof(Value))) return out;
    size_t end = begin;
    size_t next = kNowhere;
    if (separator != nullptr) {
      end = find_bytes(text.view(), separator->view(), begin);
      next = end == kNowhere ? end : end + separator->size();
    } else {
      while (end < text.size() && space_prefix(text.view().substr(end, 4)) == 0) {
        end += first_character(text.view().substr(end)).length;
      }
      if (end >= text.size()) break;
      next = end + space_prefix(text.view().substr(end));
    }
    if (end == kNowhere) break;
    out.push_back(text.substr(begin, end));
    begin = next;
  }
  MarkedText rest = text.substr(begin, text.size());
  if (separator != nullptr || !rest.empty()) out.push_back(std::move(rest));
  return out;
}

std::optional<int64_t> text_to_int(std::string_view text) {
  std::string digits(text.substr(space_prefix(text)));
  digits.resize(digits.size() - space_suffix(digits));
  const bool signs = digits.starts_with('+') && !digits.starts_with("+-");
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data() + (signs ? 1 : 0), end, value);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

std::optional<double> text_to_double(std::string_view text) {
  std::string digits(text.substr(space_prefix(text)));
  digits.resize(digits.size() - space_suffix(digits));
  if (digits.empty() || digits.find_first_of("xXpP(") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace s3d::jinja
