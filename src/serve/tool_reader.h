// Reads answers that may hold thoughts and calls of tools.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "serve/answer_reader.h"
#include "serve/tool_format.h"

namespace s3d::serve {

struct ReaderOptions {
  ThoughtMarks thoughts;            // empty: all text is content
  bool thoughts_open = false;       // the prompt ends inside of thoughts
  std::optional<ToolFormat> tools;  // calls are looked for; nothing: they are content
  std::string tools_json;           // the tools of the request, in OpenAI's form, checked; only these can be called
  bool parallel = true;             // more than one call; else those after the first are left out
  std::function<std::string()> make_id;  // of calls; empty: random ones, as the format wants them
};

// What is said does not depend on how the text is cut into pieces. A call that is malformed, or that names a tool which
// is not there, is content, as it was written. White space between thoughts and content, and around calls, is left out.
std::unique_ptr<AnswerReader> make_answer_reader(ReaderOptions options);

}  // namespace s3d::serve
