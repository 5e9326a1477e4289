// Parts thoughts from what is said.
#pragma once

#include <string>
#include <string_view>

#include "serve/tool_format.h"

namespace s3d::serve {

// Thoughts stand at the beginning of an answer, between two marks; the prompt may hold the first. Thread rule: one call
// at a time.
class ThoughtSplitter {
 public:
  // `marks.begin` empty: there are no thoughts.
  ThoughtSplitter(ThoughtMarks marks, bool open);

  struct Parts {
    std::string thought;
    std::string content;
  };
  Parts push(std::string_view text);
  Parts finish();  // what was held back

 private:
  enum class At { kStart, kThoughtStart, kThought, kContentStart, kContent };
  void push(char c, Parts& parts);
  void thought(char c, Parts& parts);

  ThoughtMarks marks_;
  At at_;
  std::string held_;  // blanks, and what may be the beginning of a mark
};

}  // namespace s3d::serve
