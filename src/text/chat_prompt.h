// A prompt of a chat, in which text that somebody typed can be told from the marks of the template.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace s3d {

// Bytes [begin, end) of a text.
struct TextSpan {
  size_t begin;
  size_t end;
};

struct ChatPrompt {
  std::string text;
  std::vector<TextSpan> marks;  // what the template wrote, in order; the rest are the messages' own words
};

}  // namespace s3d
