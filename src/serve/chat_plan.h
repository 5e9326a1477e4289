// A chat whose answer may hold thoughts and calls of tools: its prompt, its form, and how it is read.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/fields.h"
#include "serve/model_service.h"
#include "serve/settings.h"
#include "serve/tool_reader.h"

namespace s3d::serve {

// What a request says of tools and thoughts.
struct ChatPowers {
  enum class Choice : uint8_t { kNone, kAuto, kRequired };
  Choice choice = Choice::kNone;  // of a tool; kNone too where there are no tools
  std::string tools;              // JSON: an array of tools in OpenAI's form, checked
  std::string only;               // the tool that has to be called; empty: any
  bool parallel = true;
  bool split_thoughts = true;  // thoughts are taken out of the content
};

// Reads tools, tool_choice, parallel_tool_calls and reasoning_format, as OpenAI and llama-server have them; Ollama has
// the first. Errors stay in `fields`.
ChatPowers read_chat_powers(Fields& fields);

struct ChatPlan {
  std::vector<TokenId> prompt;
  std::vector<TokenId> shown;  // control tokens whose text the reader has to see
  ReaderOptions reader;
  std::string begun;  // of the answer: what of it the prompt holds
};

// Renders the chat with its tools. `form` is the request's own form; it becomes that of calls where a tool has to be
// called, that of calls too where one may be called, and that of thoughts before it. Nothing: an error is in `fields`:
// what the template refuses, parameters of a tool that no grammar can serve.
std::optional<ChatPlan> plan_chat(Fields& fields, const ModelService& model, Json messages, ChatInput chat,
                                  const ChatPowers& powers, std::optional<WantedForm>& form);

// Readers for `n` answers to it.
std::vector<std::unique_ptr<AnswerReader>> make_readers(const ChatPlan& plan, int n);

}  // namespace s3d::serve
