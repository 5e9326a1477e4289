#include "text/chat_template.h"

#include <utility>

#include "text/builtin_templates.h"

namespace s3d {
namespace {

Error with_names(std::string what) {
  std::string list;
  for (const std::string_view name : builtin_template_names()) {
    if (!list.empty()) list += ", ";
    list += name;
  }
  return Error{std::move(what) + "; name a known one with --chat-template: " + list};
}

}  // namespace

ChatContext chat_context(const std::vector<ChatMessage>& messages) {
  std::vector<jinja::Value> list;
  for (const ChatMessage& message : messages) {
    list.push_back(jinja::Value::dict(
        {{"role", jinja::Value::text(message.role)}, {"content", jinja::Value::text(message.content)}}));
  }
  return {.messages = jinja::Value::list(std::move(list))};
}

Result<ChatTemplate> ChatTemplate::create(std::string_view jinja, std::string_view name, ChatTemplateOptions options) {
  const std::string_view source = name.empty() ? jinja : builtin_template(name);
  if (source.empty()) {
    return with_names(name.empty() ? "the model file has no chat template"
                                   : "unknown chat template '" + std::string(name) + "'");
  }
  auto program = jinja::Template::parse(source);
  if (!program.ok()) return with_names("the model file's chat template cannot be run: " + program.error().message);
  return ChatTemplate(std::move(*program), std::move(options));
}

std::vector<std::string> ChatTemplate::known_names() {
  std::vector<std::string> names;
  for (const std::string_view name : builtin_template_names()) names.emplace_back(name);
  return names;
}

Result<ChatPrompt> ChatTemplate::render(const ChatContext& context) const {
  if (!context.messages.is_list() || context.messages.as_list().items.empty()) {
    return Error{"a chat needs at least one message, found none"};
  }
  std::vector<TemplateVariable> variables = {
      {"messages", context.messages},
      {"add_generation_prompt", jinja::Value::boolean(context.add_generation_prompt)},
      {"bos_token", jinja::Value::trusted(options_.bos)},
      {"eos_token", jinja::Value::trusted(options_.eos)}};
  if (!context.tools.is_undefined()) variables.emplace_back("tools", context.tools);
  variables.insert(variables.end(), options_.variables.begin(), options_.variables.end());
  variables.insert(variables.end(), context.variables.begin(), context.variables.end());
  auto rendered = program_.render(jinja::Value::dict(std::move(variables)));
  if (!rendered.ok()) return rendered.error().within("the chat template");
  ChatPrompt prompt;
  prompt.text = std::move(rendered->text);
  if (options_.trust_special) {
    prompt.marks = {{0, prompt.text.size()}};
    return prompt;
  }
  for (const jinja::Span& span : rendered->spans) {
    if (span.from_template) prompt.marks.push_back({span.begin, span.end});
  }
  return prompt;
}

}  // namespace s3d
