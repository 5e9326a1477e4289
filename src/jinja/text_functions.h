// What filters and methods do with texts. All keep the marks of what they copy.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/budget.h"
#include "jinja/marked_text.h"
#include "jinja/value.h"

namespace s3d::jinja {

MarkedText uppercase(const MarkedText& text);
MarkedText lowercase(const MarkedText& text);
MarkedText swapped_case(const MarkedText& text);
// First character upper case, the others lower case.
MarkedText capitalized(const MarkedText& text);
// Python's str.title(): a word begins behind anything that is no letter.
MarkedText title_by_letters(const MarkedText& text);
// Jinja's filter title: a word begins behind white space and - ( { [ <.
MarkedText title_by_words(const MarkedText& text);

// Without the characters of `chars` (null: white space) at its ends.
MarkedText stripped(const MarkedText& text, const MarkedText* chars, bool left, bool right);

// The first `count` (negative: all) occurrences replaced, from the left.
MarkedText replaced(const MarkedText& text, const MarkedText& old, const MarkedText& with, int64_t count,
                    Budget& budget);

// str.splitlines().
std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends);

// str.split() and str.rsplit(); `separator` null: at white space. At most `most` cuts; negative: all.
std::vector<MarkedText> split(const MarkedText& text, const MarkedText* separator, int64_t most, Budget& budget);
std::vector<MarkedText> split_right(const MarkedText& text, const MarkedText* separator, int64_t most, Budget& budget);

enum class Padding : uint8_t { kLeft, kRight, kBoth };
// Error: the width is unreasonable.
Result<Value> padded_text(const MarkedText& text, int64_t width, const MarkedText& fill, Padding side, Budget& budget);

// Python's int(text, base) and float(text).
std::optional<int64_t> text_to_int(std::string_view text, int64_t base);
std::optional<double> text_to_double(std::string_view text);

// Where `needle` begins, at `from` or behind; npos: nowhere. Linear time, unlike std::string's.
size_t find_bytes(std::string_view text, std::string_view needle, size_t from);
// The last place that begins at or before `before`.
size_t find_bytes_last(std::string_view text, std::string_view needle, size_t before, Budget& budget);

}  // namespace s3d::jinja
