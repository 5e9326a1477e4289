#include "serve/thought_splitter.h"

#include <utility>

#include "serve/json_scanner.h"

namespace s3d::serve {

ThoughtSplitter::ThoughtSplitter(ThoughtMarks marks, bool open)
    : marks_(std::move(marks)), at_(marks_.begin.empty() ? At::kContent : (open ? At::kThoughtStart : At::kStart)) {}

ThoughtSplitter::Parts ThoughtSplitter::push(std::string_view text) {
  Parts parts;
  for (const char c : text) push(c, parts);
  return parts;
}

void ThoughtSplitter::push(char c, Parts& parts) {
  switch (at_) {
    case At::kStart: {
      held_ += c;
      const size_t begin = held_.find_first_not_of(" \n\r\t");
      const std::string_view mark = begin == std::string::npos ? "" : std::string_view{held_}.substr(begin);
      if (mark == marks_.begin) {
        held_.clear();
        at_ = At::kThoughtStart;
      } else if (!marks_.begin.starts_with(mark)) {
        parts.content += std::exchange(held_, {});
        at_ = At::kContent;
      }
      return;
    }
    case At::kThoughtStart:
      if (is_blank(c)) return;
      at_ = At::kThought;
      return thought(c, parts);
    case At::kThought:
      return thought(c, parts);
    case At::kContentStart:
      if (is_blank(c)) return;
      at_ = At::kContent;
      [[fallthrough]];
    case At::kContent:
      parts.content += c;
      return;
  }
}

// Blanks before the mark are no part of the thought, so they are held back with it.
void ThoughtSplitter::thought(char c, Parts& parts) {
  held_ += c;
  for (;;) {
    const size_t begin = held_.find_first_not_of(" \n\r\t");
    if (begin == std::string::npos) return;
    const std::string_view mark = std::string_view{held_}.substr(begin);
    if (mark == marks_.end) {
      held_.clear();
      at_ = At::kContentStart;
      return;
    }
    if (marks_.end.starts_with(mark)) return;
    parts.thought += held_.substr(0, begin + 1);
    held_.erase(0, begin + 1);
  }
}

ThoughtSplitter::Parts ThoughtSplitter::finish() {
  Parts parts;
  if (at_ == At::kThought) parts.thought = std::exchange(held_, {});
  if (at_ == At::kStart) parts.content = std::exchange(held_, {});
  return parts;
}

}  // namespace s3d::serve
