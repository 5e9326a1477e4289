#include "serve/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/index.h"

namespace s3d::serve {
namespace {

struct Role {
  std::string_view sent;
  std::string_view meant;
};
constexpr std::array kRoles = std::to_array<Role>({{"system", "system"},
                                                   {"developer", "system"},
                                                   {"user", "user"},
                                                   {"assistant", "assistant"},
                                                   {"tool", "tool"},
                                                   {"function", "tool"}});

// What a text part may be called: chat completions, and the two names of the Responses interface.
constexpr std::array kTextParts = std::to_array<std::string_view>({"text", "input_text", "output_text"});

void read_message(Fields& fields, Json& message, const std::string& where) {
  if (!message.is_object()) {
    return fields.fail(where, fmt::format("expected an object, got {}", type_name(message)));
  }
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string()) {
    return fields.fail(where + ".role", "expected system, developer, user, assistant or tool");
  }
  const auto known = std::find_if(kRoles.begin(), kRoles.end(),
                                  [&](const Role& r) { return r.sent == role->get_ref<const std::string&>(); });
  if (known == kRoles.end()) {
    return fields.fail(where + ".role",
                       fmt::format("expected system, developer, user, assistant or tool, got {}", to_text(*role)));
  }
  *role = known->meant;
  const bool has_calls = message.contains("tool_calls") && !message["tool_calls"].empty();
  const bool empty = !message.contains("content") || message["content"].is_null();
  if (empty && known->meant != "assistant") return fields.fail(where + ".content", "expected a text");
  message["content"] = empty ? std::string() : content_text(fields, message["content"], where + ".content");
  if (!has_calls) message.erase("tool_calls");
}

struct Split {
  Json messages;
  std::string begun;  // of the answer
};

// Takes the assistant's own last message off: a template would end it, and begin another turn.
Split split_begun_answer(const Json& messages) {
  const Json& last = messages.back();
  const bool begun = messages.size() > 1 && last["role"] == "assistant" && !last.contains("tool_calls");
  if (!begun) return {messages, ""};
  Split split{messages, last["content"].get<std::string>()};
  split.messages.erase(split.messages.size() - 1);
  return split;
}

Result<ChatPrompt> render(const ModelService& model, const Json& messages, ChatInput chat) {
  Split split = split_begun_answer(messages);
  chat.messages = to_text(split.messages);
  S3D_ASSIGN(ChatPrompt prompt, model.render(chat));
  prompt.text += split.begun;  // no mark: it is data
  return prompt;
}

}  // namespace

std::string content_text(Fields& fields, const Json& content, const std::string& where) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    fields.fail(where, fmt::format("expected a text or a list of parts, got {}", type_name(content)));
    return "";
  }
  std::string text;
  for (int i = 0; i < isize(content); ++i) {
    const Json& part = content[usize(i)];
    const std::string name = fmt::format("{}[{}]", where, i);
    const std::string type = part.is_object() ? part.value("type", Json("text")).dump() : "";
    const bool is_text = std::any_of(kTextParts.begin(), kTextParts.end(),
                                     [&](std::string_view known) { return type == fmt::format("\"{}\"", known); });
    if (!is_text) {
      fields.fail(name, fmt::format("parts of type {} are not supported: this server reads text only",
                                    type.empty() ? std::string(type_name(part)) : type));
      return "";
    }
    if (!part.contains("text") || !part["text"].is_string()) {
      fields.fail(name + ".text", "expected a text");
      return "";
    }
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

Json read_messages(Fields& fields, std::string_view name) {
  const Json* list = fields.array(name);
  if (list == nullptr || list->empty()) {
    fields.fail(name, "expected a list of at least one message");
    return Json::array();
  }
  Json messages = *list;
  for (int i = 0; i < isize(messages) && fields.ok(); ++i) {
    read_message(fields, messages[usize(i)], fmt::format("{}[{}]", name, i));
  }
  return messages;
}

std::vector<std::string> read_template_variables(Fields& fields) {
  std::vector<std::string> variables;
  if (const auto effort = fields.text("reasoning_effort")) {
    variables.push_back("reasoning_effort=" + to_text(*effort));
    if (*effort == "none") variables.emplace_back("enable_thinking=false");
  }
  if (const Json* own = fields.object("chat_template_kwargs")) {
    for (const auto& [key, value] : own->items()) {
      if (key.empty() || key.find('=') != std::string::npos) {
        fields.fail("chat_template_kwargs", fmt::format("{} is no name of a variable", to_text(key)));
      }
      variables.push_back(key + "=" + to_text(value));
    }
  }
  return variables;
}

Result<std::vector<TokenId>> chat_prompt(const ModelService& model, const Json& messages, ChatInput chat) {
  S3D_ASSIGN(const ChatPrompt prompt, render(model, messages, std::move(chat)));
  return model.tokenize_chat(prompt);
}

Result<std::string> chat_prompt_text(const ModelService& model, const Json& messages, ChatInput chat) {
  S3D_ASSIGN(ChatPrompt prompt, render(model, messages, std::move(chat)));
  return std::move(prompt.text);
}

}  // namespace s3d::serve
