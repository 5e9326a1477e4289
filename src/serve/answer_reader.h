// What the text of an answer says: words for the reader, thoughts, calls of tools.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace s3d::serve {

// A part of a call of a tool. `id` and `name` stand in its first part only; the arguments of all parts together are a
// JSON text.
struct CallDelta {
  int index = 0;
  std::string id;
  std::string name;
  std::string arguments;
};

// What a piece of text adds to an answer.
struct AnswerDelta {
  std::string content;
  std::string thought;
  std::vector<CallDelta> calls;

  bool empty() const { return content.empty() && thought.empty() && calls.empty(); }
};

// Takes the text of one answer as it comes. Thread rule: one call at a time.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  virtual AnswerDelta push(std::string_view text) = 0;
  virtual AnswerDelta finish() = 0;  // what was held back; once, at the end
};

}  // namespace s3d::serve
