// Chats in JSON, as requests and files have them, for a chat template.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"

namespace s3d {

// Messages in JSON, as OpenAI's API has them: an array of objects with "role" and "content" (a text, or a list of
// parts), perhaps "tool_calls", "tool_call_id", … Everything reaches the template as it stands, but for the arguments
// of tool calls: where they are a text, the JSON in it is passed, as templates expect. Error: not such an array.
Result<jinja::Value> parse_messages(std::string_view json);

// Tools in JSON: an array of objects. Error: not such an array.
Result<jinja::Value> parse_tools(std::string_view json);

// "KEY=JSON": a variable of the template, such as enable_thinking=false. Error: neither.
Result<TemplateVariable> parse_template_argument(const std::string& text);

// A whole chat. Errors: those of its parts.
struct ChatJson {
  std::string_view messages;
  std::string_view tools = {};              // empty: none
  std::vector<std::string> arguments = {};  // "KEY=JSON": variables for this chat, besides those of PromptOptions
  bool add_generation_prompt = true;        // ends where the answer begins
};
Result<ChatContext> parse_chat(const ChatJson& chat);

}  // namespace s3d
