#include "serve/tool_call_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace s3d::serve {
namespace {

using Json = nlohmann::ordered_json;
using Step = ToolCallText::Step;

Json parse(const std::string& text) {
  return Json::parse(text, /*callback=*/nullptr, /*allow_exceptions=*/false);
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

class JsonCall final : public ToolCallText {
 public:
  explicit JsonCall(const ToolSignatures& tools) : tools_(tools) {}
  Step push(char c) override;

 private:
  enum class At : uint8_t { kOutside, kMembers, kKey, kColon, kBeforeValue, kValue };
  Step members(char c);
  void begin_value(char c);
  bool end_value();
  Step value(char c);

  const ToolSignatures& tools_;
  JsonScanner scanner_;
  At at_ = At::kOutside;
  int level_ = 1;         // of the object that is the call: 2 inside of "function"
  std::string key_;       // its JSON text, then its characters
  std::string value_;     // JSON text of a value that is no object of arguments
  bool streams_ = false;  // the value is the object of arguments
  bool has_arguments_ = false;
};

Step JsonCall::push(char c) {
  if (scanner_.push(c) == JsonScanner::Step::kBad) return Step::kBad;
  switch (at_) {
    case At::kOutside:
      if (is_blank(c)) return Step::kMore;
      at_ = At::kMembers;
      return c == '{' ? Step::kMore : Step::kBad;
    case At::kMembers:
      return members(c);
    case At::kKey:
      key_ += c;
      if (scanner_.in_string()) return Step::kMore;
      if (const Json key = parse(key_); key.is_string()) key_ = key.get<std::string>();
      at_ = At::kColon;
      return Step::kMore;
    case At::kColon:
      if (c == ':') at_ = At::kBeforeValue;
      return Step::kMore;
    case At::kBeforeValue:
      if (!is_blank(c)) begin_value(c);
      return Step::kMore;
    case At::kValue:
      return value(c);
  }
  return Step::kBad;
}

Step JsonCall::members(char c) {
  at_ = At::kMembers;
  if (c == '"') {
    at_ = At::kKey;
    key_ = c;
  }
  if (c != '}' || --level_ > 0) return Step::kMore;
  if (name_.empty()) return Step::kBad;
  if (!has_arguments_) arguments_ = "{}";
  begun_ = true;
  return Step::kDone;
}

void JsonCall::begin_value(char c) {
  if (c == '{' && level_ == 1 && (key_ == "function" || key_ == "tool_call")) {
    level_ = 2;
    at_ = At::kMembers;
    return;
  }
  at_ = At::kValue;
  streams_ = c == '{' && !has_arguments_ && (key_ == "arguments" || key_ == "parameters");
  value_ = c;
  if (!streams_) return;
  has_arguments_ = true;
  arguments_ += c;
  begun_ = !name_.empty();
}

// The value is whole. False: a call cannot have it.
bool JsonCall::end_value() {
  at_ = At::kMembers;
  if (streams_) return true;
  const bool arguments = key_ == "arguments" || key_ == "parameters";
  const bool name = key_ == "name" || key_ == "function";
  if (begun_ || (!arguments && !name)) return true;
  const Json json = parse(value_);
  if (name && json.is_string()) {
    name_ = json.get<std::string>();
    begun_ = has_arguments_;
    return tools_.tools.contains(name_);
  }
  if (name || has_arguments_) return true;
  has_arguments_ = true;
  arguments_ = json.is_string() ? json.get<std::string>() : "{}";  // some write the text of an object
  begun_ = !name_.empty();
  return json.is_null() || parse(arguments_).is_object();
}

Step JsonCall::value(char c) {
  const bool number = value_[0] == '-' || (value_[0] >= '0' && value_[0] <= '9');
  if (number && (is_blank(c) || c == ',' || c == '}' || c == ']')) {
    if (!end_value()) return Step::kBad;
    return members(c);
  }
  (streams_ ? arguments_ : value_) += c;
  if (scanner_.depth() != level_ || !scanner_.after_value()) return Step::kMore;
  return end_value() ? Step::kMore : Step::kBad;
}

class XmlCall final : public ToolCallText {
 public:
  explicit XmlCall(const ToolSignatures& tools) : tools_(tools) {}
  Step push(char c) override;
  void abandon() override;

 private:
  enum class At : uint8_t { kBefore, kName, kBetween, kKey, kValue };
  Step name(char c);
  Step between(char c);
  Step value(char c);
  void add_parameter(std::string value);

  const ToolSignatures& tools_;
  At at_ = At::kBefore;
  std::string held_;  // of a tag that is not whole, or of a value
  std::string key_;
  bool first_ = true;
};

Step XmlCall::push(char c) {
  switch (at_) {
    case At::kBefore: {
      constexpr std::string_view kOpener = "<function=";
      if (held_.empty() && is_blank(c)) return Step::kMore;
      held_ += c;
      if (!kOpener.starts_with(held_)) return Step::kBad;
      if (held_ != kOpener) return Step::kMore;
      held_.clear();
      at_ = At::kName;
      return Step::kMore;
    }
    case At::kName:
      return name(c);
    case At::kBetween:
      return between(c);
    case At::kKey:
      if (c == '\n' || c == '<') return Step::kBad;
      if (c == '>') at_ = At::kValue;
      if (c != '>') key_ += c;
      return Step::kMore;
    case At::kValue:
      return value(c);
  }
  return Step::kBad;
}

Step XmlCall::name(char c) {
  if (c != '>') {
    name_ += c;
    return c == '\n' || c == '<' ? Step::kBad : Step::kMore;
  }
  if (!tools_.tools.contains(name_)) return Step::kBad;
  begun_ = true;
  arguments_ = "{";
  at_ = At::kBetween;
  return Step::kMore;
}

Step XmlCall::between(char c) {
  constexpr std::string_view kParameter = "<parameter=";
  constexpr std::string_view kEnd = "</function>";
  if (held_.empty() && is_blank(c)) return Step::kMore;
  held_ += c;
  if (held_ == kEnd) {
    arguments_ += '}';
    return Step::kDone;
  }
  if (held_ == kParameter) {
    held_.clear();
    key_.clear();
    at_ = At::kKey;
    return Step::kMore;
  }
  return kParameter.starts_with(held_) || kEnd.starts_with(held_) ? Step::kMore : Step::kBad;
}

Step XmlCall::value(char c) {
  constexpr std::string_view kEnd = "</parameter>";
  held_ += c;
  if (!held_.ends_with(kEnd)) return Step::kMore;
  add_parameter(held_.substr(0, held_.size() - kEnd.size()));
  held_.clear();
  at_ = At::kBetween;
  return Step::kMore;
}

// A line end after the opening tag and one before the closing tag belong to the form. What is no text by the tool's
// description is JSON if it can be read so.
void XmlCall::add_parameter(std::string value) {
  if (value.starts_with('\n')) value.erase(0, 1);
  if (value.ends_with('\n')) value.pop_back();
  const auto& is_text = tools_.tools.at(name_).is_text;
  const auto& is_word = tools_.tools.at(name_).is_word;
  if (const auto word = is_word.find(key_); word != is_word.end() && word->second) {
    while (!value.empty() && is_blank(value.back())) value.pop_back();
    value.erase(0, std::min(value.find_first_not_of(" \n\r\t"), value.size()));
  }
  const auto type = is_text.find(key_);
  Json json = type != is_text.end() && type->second ? Json(value) : parse(value);
  if (json.is_discarded()) json = value;
  arguments_ += (first_ ? "" : ", ") + dump(Json(key_)) + ": " + dump(json);
  first_ = false;
}

void XmlCall::abandon() {
  if (at_ == At::kValue) add_parameter(held_);
  arguments_ += '}';
}

class NamedCall final : public ToolCallText {
 public:
  explicit NamedCall(const ToolSignatures& tools) : tools_(tools) {}
  Step push(char c) override;

 private:
  const ToolSignatures& tools_;
  JsonScanner scanner_;
  std::string head_;
  bool in_arguments_ = false;
};

Step NamedCall::push(char c) {
  constexpr std::string_view kArguments = "[ARGS]";
  constexpr size_t kLongestHead = 512;
  if (in_arguments_) {
    if (!begun_ && is_blank(c)) return Step::kMore;
    if (!begun_ && c != '{') return Step::kBad;
    begun_ = true;
    const JsonScanner::Step step = scanner_.push(c);
    if (step == JsonScanner::Step::kBad) return Step::kBad;
    arguments_ += c;
    return step == JsonScanner::Step::kDone ? Step::kDone : Step::kMore;
  }
  head_ += c;
  if (head_.size() > kLongestHead) return Step::kBad;
  if (!head_.ends_with(kArguments)) return Step::kMore;
  name_ = head_.substr(0, std::min(head_.find("[CALL_ID]"), head_.find(kArguments)));
  while (!name_.empty() && is_blank(name_.back())) name_.pop_back();
  in_arguments_ = true;
  return tools_.tools.contains(name_) ? Step::kMore : Step::kBad;
}

}  // namespace

ToolSignatures ToolSignatures::of(std::string_view tools_json) {
  ToolSignatures signatures;
  for (const Json& tool : Json::parse(tools_json)) {
    const Json& function = tool.at("function");
    Tool& known = signatures.tools[function.at("name").get<std::string>()];
    const Json parameters = function.value("parameters", Json::object());
    if (!parameters.is_object() || !parameters.contains("properties")) continue;
    for (const auto& [key, schema] : parameters["properties"].items()) {
      if (schema.is_object() && schema.contains("type")) known.is_text[key] = schema["type"] == "string";
      if (schema.is_object()) known.is_word[key] = schema.contains("enum") || schema.contains("const");
    }
  }
  return signatures;
}

std::string ToolCallText::take_arguments() {
  return std::exchange(arguments_, {});
}

std::unique_ptr<ToolCallText> make_json_call(const ToolSignatures& tools) {
  return std::make_unique<JsonCall>(tools);
}

std::unique_ptr<ToolCallText> make_xml_call(const ToolSignatures& tools) {
  return std::make_unique<XmlCall>(tools);
}

std::unique_ptr<ToolCallText> make_named_call(const ToolSignatures& tools) {
  return std::make_unique<NamedCall>(tools);
}

}  // namespace s3d::serve
