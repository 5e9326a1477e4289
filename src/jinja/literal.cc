#include "jinja/literal.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

// Reads exactly `count` hexadecimal digits at `i`.
std::optional<char32_t> hex(std::string_view text, size_t i, size_t count) {
  if (text.size() - i < count) return std::nullopt;
  char32_t value = 0;
  for (const char c : text.substr(i, count)) {
    if (digit_value(c) > 15) return std::nullopt;
    value = value << 4 | static_cast<char32_t>(digit_value(c));
  }
  return value;
}

// \a, \n and the like; 0 for others.
char simple_escape(char c) {
  static constexpr std::string_view kFrom = "abfnrtv\\'\"";
  static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
  const size_t i = kFrom.find(c);
  return i == std::string_view::npos ? '\0' : kTo[i];
}

// Digits at `i`, with single underscores between them: where they end.
size_t digits_end(std::string_view text, size_t i, int base) {
  while (i < text.size()) {
    const bool joined = text[i] == '_' && i > 0 && text[i - 1] != '_' && i + 1 < text.size();
    const char c = joined ? text[i + 1] : text[i];
    if (digit_value(c) >= base) break;
    i += joined ? 2 : 1;
  }
  return i;
}

// Where a float at the beginning of `text` ends; 0: there is none.
size_t float_end(std::string_view text) {
  const size_t whole = digits_end(text, 0, 10);
  size_t end = whole;
  const auto digit_at = [&](size_t i) { return i < text.size() && digit_value(text[i]) < 10; };
  if (end < text.size() && text[end] == '.' && digit_at(end + 1)) end = digits_end(text, end + 1, 10);
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t i = end + 1;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digit_at(i)) end = digits_end(text, i, 10);
  }
  return end == whole ? 0 : end;
}

size_t integer_end(std::string_view text) {
  if (text.size() > 2 && text[0] == '0') {
    const char c = static_cast<char>(text[1] | 0x20);
    const int base = c == 'b' ? 2 : c == 'o' ? 8 : c == 'x' ? 16 : 0;
    if (base != 0) {
      const size_t end = digits_end(text, 2, base);
      return end > 2 ? end : 1;
    }
  }
  if (text[0] != '0') return digits_end(text, 0, 10);
  size_t end = 1;
  while (end < text.size() && text[end] == '0') ++end;
  return end;
}

// An escape with a number: its code point, and `i` behind it. `i` is at the letter or the first octal digit.
std::optional<char32_t> numeric_escape(std::string_view text, size_t& i) {
  const char c = text[i];
  if (c == 'x' || c == 'u' || c == 'U') {
    const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    const auto code = hex(text, i + 1, count);
    i += 1 + count;
    return code;
  }
  char32_t code = 0;
  for (int n = 0; n < 3 && i < text.size() && digit_value(text[i]) < 8; ++n) {
    code = code * 8 + static_cast<char32_t>(digit_value(text[i++]));
  }
  return code;
}

}  // namespace

Result<std::string> unescape(std::string_view quoted) {
  std::string out;
  for (size_t i = 0; i < quoted.size();) {
    if (quoted[i] != '\\' || i + 1 >= quoted.size()) {
      out += quoted[i++];
      continue;
    }
    const char c = quoted[++i];
    if (c == '\n') {
      ++i;  // the line goes on
    } else if (const char simple = simple_escape(c)) {
      out += simple;
      ++i;
    } else if (c == 'x' || c == 'u' || c == 'U' || (c >= '0' && c <= '7')) {
      const std::string shown = "\\" + std::string(quoted.substr(i, 9));
      const auto code = numeric_escape(quoted, i);
      if (!code || *code > 0x10FFFF) return Error{"broken escape " + shown + " in a string"};
      if (*code >= 0xD800 && *code <= 0xDFFF) return Error{"the escape " + shown + " is half a character"};
      append_utf8(out, *code);
    } else if (c == 'N') {
      return Error{"escapes by name, \\N{...}, are not supported: write the character itself"};
    } else {
      out += '\\';  // as in Python, an unknown escape stays as it is
    }
  }
  return out;
}

NumberLiteral number_literal(std::string_view text, bool float_allowed) {
  const size_t as_float = float_allowed ? float_end(text) : 0;
  const size_t length = as_float != 0 ? as_float : std::max<size_t>(1, integer_end(text));
  std::string digits(text.substr(0, length));
  std::erase(digits, '_');
  return {length, std::move(digits), as_float != 0};
}

Result<int64_t> parse_integer(std::string_view digits) {
  int base = 10;
  std::string_view body = digits;
  if (digits.size() > 2 && digits[0] == '0' && digit_value(digits[1]) > 9) {
    const char c = static_cast<char>(digits[1] | 0x20);
    base = c == 'b' ? 2 : c == 'o' ? 8 : 16;
    body = digits.substr(2);
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value, base);
  if (error != std::errc{} || end != body.data() + body.size()) {
    return Error{"the number " + std::string(digits) + " does not fit into 64 bits"};
  }
  return value;
}

}  // namespace s3d::jinja
