#include "jinja/text_functions.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

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

// A sigma at the end of a word has a form of its own.
bool ends_word(std::string_view before, std::string_view after) {
  return !before.empty() && is_letter(last_character(before).code) &&
         (after.empty() || !is_letter(first_character(after).code));
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
  MarkedText out;
  for (const Span& span : text.spans()) {
    std::string piece;
    for (size_t i = span.begin; i < span.end;) {
      const Character c = first_character(text.view().substr(i, span.end - i));
      const bool final_sigma =
          c.code == U'\u03A3' && ends_word(text.view().substr(0, i), text.view().substr(i + c.length));
      final_sigma ? append_utf8(piece, U'\u03C2') : append_lower(piece, c.code);
      i += c.length;
    }
    out.append(piece, span.from_template);
  }
  out.set_markup(text.markup());
  return out;
}

MarkedText swapped_case(const MarkedText& text) {
  return by_character(
      text, [](std::string& out, char32_t c, bool) { is_upper(c) ? append_lower(out, c) : append_upper(out, c); },
      never);
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

size_t find_bytes_last(std::string_view text, std::string_view needle, size_t before, Budget& budget) {
  if (!budget.take_steps(needle.size() * (text.size() / 256 + 1))) return kNowhere;
  size_t last = kNowhere;
  for (size_t at = find_bytes(text, needle, 0); at != kNowhere && at <= before && at < text.size();) {
    last = at;
    at = find_bytes(text, needle, at + 1);
  }
  return last;
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

std::vector<MarkedText> split_right(const MarkedText& text, const MarkedText* separator, int64_t most, Budget& budget) {
  std::vector<MarkedText> out;
  size_t end = separator == nullptr ? text.size() - space_suffix(text.view()) : text.size();
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    if (!budget.take_steps(1)) break;
    size_t begin = end;
    size_t next = 0;
    if (separator != nullptr) {
      const size_t at = end < separator->size() ? kNowhere
                                                : find_bytes_last(text.view().substr(0, end), separator->view(),
                                                                  end - separator->size(), budget);
      if (at == kNowhere) break;
      begin = at + separator->size();
      next = at;
    } else {
      while (begin > 0 && !is_space(last_character(text.view().substr(0, begin)).code)) {
        begin -= last_character(text.view().substr(0, begin)).length;
      }
      if (begin == 0) break;
      next = begin - space_suffix(text.view().substr(0, begin));
    }
    out.push_back(text.substr(begin, end));
    end = next;
  }
  MarkedText rest = text.substr(0, end);
  if (separator != nullptr || !rest.empty()) out.push_back(std::move(rest));
  std::reverse(out.begin(), out.end());
  return out;
}

Result<Value> padded_text(const MarkedText& text, int64_t width, const MarkedText& fill, Padding side, Budget& budget) {
  constexpr int64_t kMostWidth = 1'000'000;
  if (width > kMostWidth) return Error{"a text can be padded to at most 1000000 characters"};
  if (length_in_characters(fill.view()) != 1) return Error{"the character to fill with must be one character"};
  const int64_t missing = width - static_cast<int64_t>(length_in_characters(text.view()));
  if (missing <= 0 || !budget.take_bytes(static_cast<uint64_t>(missing) * fill.size() + text.size())) {
    return Value::text(text);
  }
  // Python's center() puts the odd blank to the left if the width is odd.
  const int64_t left = side == Padding::kLeft    ? missing
                       : side == Padding::kRight ? 0
                                                 : missing / 2 + (missing & width & 1);
  MarkedText out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(text);
  for (int64_t i = left; i < missing; ++i) out.append(fill);
  out.set_markup(text.markup());
  return Value::text(std::move(out));
}

std::optional<int64_t> text_to_int(std::string_view text, int64_t base) {
  std::string digits(text.substr(space_prefix(text)));
  digits.resize(digits.size() - space_suffix(digits));
  const bool broken = digits.empty() || digits.back() == '_' || digits.find("__") != std::string::npos;
  if (broken || base == 1 || base < 0 || base > 36) return std::nullopt;
  std::erase(digits, '_');
  const bool decimal_only = base == 10;
  const size_t sign = digits[0] == '-' || digits[0] == '+' ? 1 : 0;
  if (digits.size() <= sign || !(std::isalnum(static_cast<unsigned char>(digits[sign])) != 0)) return std::nullopt;
  if (!decimal_only && digits.size() > sign + 2 && digits[sign] == '0') {  // strtol knows 0x, not 0b and 0o
    const char c = static_cast<char>(digits[sign + 1] | 0x20);
    const int64_t named = c == 'b' ? 2 : c == 'o' ? 8 : c == 'x' ? 16 : 0;
    if (named != 0 && (base == named || base == 0)) {
      digits.erase(sign, 2);
      base = named;
    }
  }
  errno = 0;
  char* end = nullptr;
  const long long value = std::strtoll(digits.c_str(), &end, static_cast<int>(base));
  if (errno != 0 || end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

std::optional<double> text_to_double(std::string_view text) {
  std::string digits(text.substr(space_prefix(text)));
  digits.resize(digits.size() - space_suffix(digits));
  if (digits.empty() || digits.find_first_of("xXpP(") != std::string::npos) return std::nullopt;
  std::erase(digits, '_');
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace s3d::jinja
