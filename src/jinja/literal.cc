#include "jinja/literal.h"

#include <charconv>
#include <optional>

#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

// Reads exactly `count` hexadecimal digits at `i`.
std::optional<char32_t> hex(std::string_view text, size_t i, size_t count) {
  if (text.size() - i < count) return std::nullopt;
  uint32_t value = 0;
  const char* end = text.data() + i + count;
  const auto parsed = std::from_chars(text.data() + i, end, value, 16);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional<char32_t>(value) : std::nullopt;
}

// \a, \n and the like; 0 for others.
char simple_escape(char c) {
  static constexpr std::string_view kFrom = "abfnrtv\\'\"";
  static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
  const size_t i = kFrom.find(c);
  return i == std::string_view::npos ? '\0' : kTo[i];
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
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      const std::string shown = "\\" + std::string(quoted.substr(i, 9));
      const auto code = hex(quoted, i + 1, digits);
      i += 1 + digits;
      if (!code || *code > 0x10FFFF) return Error{"broken escape " + shown + " in a string"};
      if (*code >= 0xD800 && *code <= 0xDFFF) return Error{"the escape " + shown + " is half a character"};
      append_utf8(out, *code);
    } else if (c == 'N' || is_digit(c)) {
      return Error{std::string("the escape \\") + c + " is not supported: write the character itself, or \\x.."};
    } else {
      out += '\\';  // as in Python, an unknown escape stays as it is
    }
  }
  return out;
}

NumberLiteral number_literal(std::string_view text, bool float_allowed) {
  const auto digits = [&](size_t i) {
    while (i < text.size() && is_digit(text[i])) ++i;
    return i;
  };
  const size_t whole = digits(0);
  size_t end = whole;
  if (!float_allowed) return {whole, false};
  if (text.substr(end).starts_with('.') && digits(end + 1) > end + 1) end = digits(end + 1);
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    const size_t sign = end + 1 < text.size() && (text[end + 1] == '+' || text[end + 1] == '-') ? 1 : 0;
    if (digits(end + 1 + sign) > end + 1 + sign) end = digits(end + 1 + sign);
  }
  return {end, end != whole};
}

Result<int64_t> parse_integer(std::string_view digits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc{}) return value;
  return Error{"the number " + std::string(digits) + " does not fit into 64 bits"};
}

}  // namespace s3d::jinja
