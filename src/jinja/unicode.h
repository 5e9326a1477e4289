// Characters of UTF-8 texts, as Python's str sees them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace s3d::jinja {

// The character at the beginning of `bytes`, which must not be empty. A byte that begins no well-formed character
// counts as a character of its own, with the value 0xDC00 + byte (no real character has it).
struct Character {
  char32_t code;
  size_t length;
};
Character first_character(std::string_view bytes);

// The UTF-8 form of a code point; of 0xDC80 to 0xDCFF the lone byte that first_character() made it from.
void append_utf8(std::string& out, char32_t code);

// Number of characters.
size_t length_in_characters(std::string_view bytes);

// Offset in bytes of each character, and the size at the end.
std::vector<size_t> character_offsets(std::string_view bytes);

// str.isspace(), and what strip() removes.
bool is_space(char32_t c);
// What splitlines() splits at.
bool is_line_end(char32_t c);

// One character in, one or more out (German sharp s becomes SS). Simple mappings come from the C library's C.UTF-8.
void append_upper(std::string& out, char32_t c);
void append_lower(std::string& out, char32_t c);
char32_t simple_upper(char32_t c);
char32_t simple_lower(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_letter(char32_t c);
bool is_digit(char32_t c);

// Bytes of white space at the beginning and at the end.
size_t space_prefix(std::string_view bytes);
size_t space_suffix(std::string_view bytes);

// The last character; `bytes` must not be empty.
Character last_character(std::string_view bytes);

}  // namespace s3d::jinja
