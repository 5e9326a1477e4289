// Literals of the template language: Python's string escapes and numbers.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d::jinja {

// The inside of a quoted string -> its text. Error: a broken escape, or half a surrogate pair, which UTF-8 cannot hold.
Result<std::string> unescape(std::string_view quoted);

struct NumberLiteral {
  size_t length;       // characters read
  std::string digits;  // them without underscores
  bool is_float;
};

// The number at the beginning of `text`, which begins with a digit. Without `float_allowed` only an integer is read.
NumberLiteral number_literal(std::string_view text, bool float_allowed);

// 12, 0x1f, 0o17, 0b101. Error: it does not fit into 64 bits.
Result<int64_t> parse_integer(std::string_view digits);

}  // namespace s3d::jinja
