// From what a person asks for to the prompt of a chat: which template, with which variables, over which messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace s3d {

struct PromptOptions {
  std::string template_name;                    // a known template instead of the file's own; empty: the file's
  std::string template_source;                  // a Jinja template instead of the file's own; empty: the file's
  std::vector<std::string> template_arguments;  // "KEY=JSON": variables of the template, such as enable_thinking=false
  bool trust_special = false;                   // marks of special tokens count in messages too
};

// The template of a model, with the texts of its BOS and EOS tokens. Errors: those of ChatTemplate::create; an argument
// that is not KEY=JSON.
Result<ChatTemplate> make_chat_template(const Tokenizer& tokenizer, const PromptOptions& options = {});

// Messages in JSON, as OpenAI's API has them: an array of objects with "role" and "content" (a text, or a list of
// parts), perhaps "tool_calls", "tool_call_id", … Everything reaches the template as it stands, but for the arguments
// of tool calls: where they are a text, the JSON in it is passed, as templates expect. Error: not such an array.
Result<jinja::Value> parse_messages(std::string_view json);

// Tools in JSON: an array of objects. Error: not such an array.
Result<jinja::Value> parse_tools(std::string_view json);

}  // namespace s3d
