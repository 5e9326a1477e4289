// UTF-8 by the definition of well-formed sequences in the Unicode standard (table 3-7).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace s3d {

inline constexpr std::string_view kReplacementChar = "\xEF\xBF\xBD";  // U+FFFD

// What stands at the beginning of some bytes.
struct Utf8Prefix {
  size_t length;    // bytes of the character; if it is not whole: bytes of the maximal part that could begin one (>= 1)
  bool whole;       // a well-formed character
  bool incomplete;  // not whole, but would become whole with more bytes after the end
};

// `bytes` must not be empty.
Utf8Prefix utf8_prefix(std::string_view bytes);

// The code point of one whole character.
char32_t utf8_decode(std::string_view character);

// True if all of `bytes` is well-formed.
bool utf8_valid(std::string_view bytes);

// A copy in which each byte that belongs to no well-formed character is replaced by U+FFFD (one for each byte).
std::string utf8_replace_broken(std::string_view bytes);

// The UTF-8 form of a code point up to U+10FFFF.
std::string utf8_encode(char32_t code_point);

}  // namespace s3d
