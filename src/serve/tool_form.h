// The forms of answers that have to call tools.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/tool_format.h"

namespace s3d::serve {

struct ToolFormOptions {
  ToolFormat format = ToolFormat::kHermes;
  std::string tools_json;  // the tools of the request, in OpenAI's form, checked
  std::string only;        // the name of the tool that has to be called; empty: any of them
  bool parallel = true;    // more than one call may come
  bool marked = false;     // the prompt has begun the calls with start_mark()
};

// An answer of nothing but calls, as the model of that format writes them, for AnswerForm::Kind::kTags. A reader of the
// same format cannot fail on it. Errors: parameters that plain_json_schema() refuses, with the tool's name; no tool
// `only`.
Result<std::string> tool_call_tags(const ToolFormOptions& options);

// An answer that is one of some texts, likewise.
std::string choice_tags(const std::vector<std::string>& texts);

// The control token with which calls begin, or empty. As grammars hold no control tokens, a prompt whose answer has to
// call tools ends with it.
std::string_view start_mark(ToolFormat format);

// What a system message says of tools where the template says nothing of them: a text for the model, which asks for
// calls in the format kJson.
std::string tool_prompt(std::string_view tools_json);

}  // namespace s3d::serve
