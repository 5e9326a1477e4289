#include "serve/tool_form.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "grammar/grammar.h"
#include "grammar/json_schema.h"

namespace s3d::serve {
namespace {

using Json = nlohmann::ordered_json;

std::string quoted(const std::string& name) {
  return Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// What stands before and after the arguments of a call.
struct Around {
  std::string before;
  std::string after;
};

Around around(ToolFormat format, const std::string& name) {
  const std::string key = format == ToolFormat::kLlama3 ? "parameters" : "arguments";
  const std::string object = "{\"name\": " + quoted(name) + ", \"" + key + "\": ";
  switch (format) {
    case ToolFormat::kHermes:
      return {"<tool_call>\n" + object, "}\n</tool_call>"};
    case ToolFormat::kQwenCoder:
      return {"<tool_call>\n<function=" + name + ">\n", "\n</function>\n</tool_call>"};
    default:
      return {object, "}"};
  }
}

Result<Json> arguments(const Json& function, ToolFormat format) {
  Json parameters = function.value("parameters", Json::object());
  if (parameters.empty())
    parameters = {{"type", "object"}, {"properties", Json::object()}, {"additionalProperties", false}};
  const auto plain = plain_json_schema(parameters.dump());
  if (!plain.ok()) return plain.error().within("tool '" + function.at("name").get<std::string>() + "'");
  Json tag = {{"type", "json_schema"},
              {"json_schema", Json::parse(*plain)},
              {"max_whitespace_cnt", GrammarCompiler::kMaxWhitespace}};
  if (format == ToolFormat::kQwenCoder) tag["style"] = "qwen_xml";
  return tag;
}

Json text_tag(std::string_view text) {
  return {{"type", "const_string"}, {"value", text}};
}

Json calls_tag(const Json& tags, const char* separator, bool parallel) {
  return {{"type", "tags_with_separator"},
          {"tags", tags},
          {"separator", separator},
          {"at_least_one", true},
          {"stop_after_first", !parallel}};
}

Json sequence(Json elements) {
  return {{"type", "sequence"}, {"elements", std::move(elements)}};
}

Json list_tag(const Json& tags, bool parallel) {
  return sequence({text_tag("["), calls_tag(tags, ", ", parallel), text_tag("]")});
}

Json framed(const ToolFormOptions& options, const Json& tags) {
  switch (options.format) {
    case ToolFormat::kHermes:
    case ToolFormat::kQwenCoder:
      return calls_tag(tags, "\n", options.parallel);
    case ToolFormat::kLlama3:
      return calls_tag(tags, "; ", options.parallel);
    case ToolFormat::kMistral:
    case ToolFormat::kPhi4: {
      const Json list = list_tag(tags, options.parallel);
      return options.marked ? list : sequence({text_tag(start_mark(options.format)), list});
    }
    case ToolFormat::kJson:
      break;
  }
  const Json one = calls_tag(tags, "", /*parallel=*/false);
  return options.parallel ? Json{{"type", "or"}, {"elements", Json::array({one, list_tag(tags, true)})}} : one;
}

}  // namespace

Result<std::string> tool_call_tags(const ToolFormOptions& options) {
  Json tags = Json::array();
  for (const Json& tool : Json::parse(options.tools_json)) {
    const Json& function = tool.at("function");
    const auto name = function.at("name").get<std::string>();
    if (!options.only.empty() && options.only != name) continue;
    S3D_ASSIGN(Json content, arguments(function, options.format));
    const Around texts = around(options.format, name);
    tags.push_back({{"type", "tag"}, {"begin", texts.before}, {"content", std::move(content)}, {"end", texts.after}});
  }
  if (tags.empty()) return Error{"there is no tool '" + options.only + "' in tools"};
  return framed(options, tags).dump();
}

std::string choice_tags(const std::vector<std::string>& texts) {
  Json options = Json::array();
  for (const std::string& text : texts) options.push_back(text_tag(text));
  return Json{{"type", "or"}, {"elements", std::move(options)}}.dump();
}

std::string_view start_mark(ToolFormat format) {
  if (format == ToolFormat::kMistral) return "[TOOL_CALLS]";
  return format == ToolFormat::kPhi4 ? "<|tool_call|>" : "";
}

std::string tool_prompt(std::string_view tools_json) {
  std::string text = "You can call these functions; each line describes one in JSON:\n";
  for (const Json& tool : Json::parse(tools_json)) {
    text += tool.at("function").dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text +
         "To call a function, answer with nothing but JSON of this form: {\"name\": \"the function's name\", "
         "\"arguments\": {\"its parameter\": \"a value\"}}\nFor several calls write a list of such objects. If no "
         "function helps, answer in words.";
}

}  // namespace s3d::serve
