#include "engine/chat_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/text_file.h"

namespace s3d {
namespace {

using Json = nlohmann::ordered_json;
using jinja::Value;

constexpr int kMaxNesting = 100;  // of lists and objects; bounds the recursion below

// Error: nested too deeply.
Result<Value> to_value(const Json& json, int depth) {
  if (depth > kMaxNesting) return Error{fmt::format("lists and objects nested more than {} deep", kMaxNesting)};
  if (json.is_object()) {
    std::vector<std::pair<std::string, Value>> entries;
    for (const auto& [key, item] : json.items()) {
      S3D_ASSIGN(Value value, to_value(item, depth + 1));
      entries.emplace_back(key, std::move(value));
    }
    return Value::dict(std::move(entries));
  }
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json) {
      S3D_ASSIGN(Value value, to_value(item, depth + 1));
      items.push_back(std::move(value));
    }
    return Value::list(std::move(items));
  }
  if (json.is_string()) return Value::text(json.get<std::string>());
  if (json.is_boolean()) return Value::boolean(json.get<bool>());
  if (json.is_number_integer()) return Value::integer(json.get<int64_t>());
  if (json.is_number()) return Value::number(json.get<double>());
  return Value::none();
}

Json parse(std::string_view text) {
  return Json::parse(without_byte_order_mark(text), nullptr, /*allow_exceptions=*/false);
}

Result<Json> parse_objects(std::string_view text, std::string_view what) {
  Json json = parse(text);
  if (json.is_discarded() || !json.is_array()) return Error{fmt::format("{}: expected a JSON array of objects", what)};
  for (size_t i = 0; i < json.size(); ++i) {
    if (!json[i].is_object()) return Error{fmt::format("{}: item {} is no JSON object", what, i + 1)};
  }
  return json;
}

// OpenAI writes the arguments of a call as a text that holds JSON; templates want the object.
void open_arguments(Json& message) {
  if (!message.contains("tool_calls") || !message["tool_calls"].is_array()) return;
  for (Json& call : message["tool_calls"]) {
    if (!call.is_object()) continue;
    Json& function = call.contains("function") && call["function"].is_object() ? call["function"] : call;
    if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
    Json arguments = parse(function["arguments"].get<std::string>());
    if (arguments.is_object()) function["arguments"] = std::move(arguments);
  }
}

}  // namespace

Result<jinja::Value> parse_messages(std::string_view text) {
  S3D_ASSIGN(Json json, parse_objects(text, "messages"));
  for (Json& message : json) {
    if (!message.contains("role") || !message["role"].is_string()) {
      return Error{"messages: each needs a \"role\" that is a text"};
    }
    if (!message.contains("content")) message["content"] = nullptr;
    open_arguments(message);
  }
  return to_value(json, 0);
}

Result<jinja::Value> parse_tools(std::string_view text) {
  S3D_ASSIGN(const Json json, parse_objects(text, "tools"));
  return to_value(json, 0);
}

Result<TemplateVariable> parse_template_argument(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Error{fmt::format("--template-arg '{}': expected KEY=JSON, as in enable_thinking=false", text)};
  }
  const std::string_view all = text;
  const Json json = parse(all.substr(equals + 1));
  if (json.is_discarded()) {
    return Error{
        fmt::format("--template-arg '{}': what follows = is no JSON; a text needs quotes, as in KEY='\"text\"'", text)};
  }
  auto value = to_value(json, 0);
  if (!value.ok()) return value.error().within("--template-arg");
  return TemplateVariable(text.substr(0, equals), std::move(*value));
}

Result<ChatContext> parse_chat(const ChatJson& chat) {
  ChatContext context;
  context.add_generation_prompt = chat.add_generation_prompt;
  S3D_ASSIGN(context.messages, parse_messages(chat.messages));
  if (!chat.tools.empty()) {
    S3D_ASSIGN(context.tools, parse_tools(chat.tools));
  }
  for (const std::string& argument : chat.arguments) {
    S3D_ASSIGN(TemplateVariable variable, parse_template_argument(argument));
    context.variables.push_back(std::move(variable));
  }
  return context;
}

}  // namespace s3d
