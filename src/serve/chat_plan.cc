#include "serve/chat_plan.h"

#include <fmt/format.h>

#include <utility>

#include "serve/messages.h"
#include "serve/tool_form.h"

namespace s3d::serve {
namespace {

using Choice = ChatPowers::Choice;

constexpr size_t kMaxTools = 256;

void check_tool(Fields& fields, const Json& tool, const std::string& where) {
  if (!tool.is_object() || tool.value("type", Json("function")) != "function" || !tool.contains("function") ||
      !tool["function"].is_object()) {
    return fields.fail(where, "expected {\"type\": \"function\", \"function\": {…}}");
  }
  const Json& function = tool["function"];
  const bool named = function.contains("name") && function["name"].is_string() &&
                     !function["name"].get_ref<const std::string&>().empty();
  if (!named) return fields.fail(where + ".function.name", "expected a name");
  if (function.contains("parameters") && !function["parameters"].is_object()) {
    fields.fail(where + ".function.parameters", "expected a JSON schema, an object");
  }
}

void read_choice(Fields& fields, ChatPowers& powers) {
  const Json* choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return;
  if (*choice == "none") {
    powers.choice = Choice::kNone;
  } else if (*choice == "required") {
    powers.choice = Choice::kRequired;
  } else if (choice->is_object() && choice->value("type", Json("")) == "function" && choice->contains("function") &&
             (*choice)["function"].is_object() && (*choice)["function"].value("name", Json()).is_string()) {
    powers.choice = Choice::kRequired;
    powers.only = (*choice)["function"]["name"].get<std::string>();
  } else {
    fields.fail("tool_choice",
                "expected none, auto, required or {\"type\": \"function\", \"function\": {\"name\": …}}");
  }
}

// Templates write the arguments of earlier calls as JSON themselves; OpenAI's clients send them as text.
void parse_arguments(Json& messages) {
  for (Json& message : messages) {
    if (!message.contains("tool_calls") || !message["tool_calls"].is_array()) continue;
    for (Json& call : message["tool_calls"]) {
      if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
      Json& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) continue;
      if (auto parsed = parse_json(arguments.get<std::string>()); parsed.ok()) arguments = std::move(*parsed);
    }
  }
}

// For a template that knows no tools: they are described in the system message, and earlier calls and their results
// become words.
Json in_words(Json messages, const std::string& tools) {
  for (Json& message : messages) {
    if (message.contains("tool_calls")) {
      Json calls = Json::array();
      for (const Json& call : message["tool_calls"]) calls.push_back(call.value("function", Json::object()));
      message["content"] = message.value("content", std::string()) + to_text(calls);
      message.erase("tool_calls");
    }
    if (message["role"] != "tool") continue;
    message["role"] = "user";
    message["content"] = "The function gave: " + message["content"].get<std::string>();
  }
  const std::string prompt = tool_prompt(tools);
  if (messages[0]["role"] == "system") {
    messages[0]["content"] = messages[0]["content"].get<std::string>() + "\n\n" + prompt;
  } else {
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", prompt}});
  }
  return messages;
}

void add_shown(const ModelService& model, const std::string& mark, std::vector<TokenId>& shown) {
  if (const TokenId id = mark.empty() ? -1 : model.find(mark); id >= 0) shown.push_back(id);
}

bool is_control(const ModelService& model, TokenId id) {
  return id >= 0 && model.piece(id, /*special=*/false).empty();
}

// The form of an answer that has to call a tool.
void require_call(Fields& fields, const ModelService& model, const ChatPowers& powers, ChatPlan& plan,
                  std::optional<WantedForm>& form) {
  const ToolFormat format = *plan.reader.tools;
  const std::string mark(start_mark(format));
  const bool marked = plan.reader.thoughts.begin.empty() && !mark.empty() && model.find(mark) >= 0;
  auto tags = tool_call_tags({.format = format,
                              .tools_json = powers.tools,
                              .only = powers.only,
                              .parallel = powers.parallel,
                              .marked = marked});
  if (!tags.ok()) return fields.fail(powers.only.empty() ? "tools" : "tool_choice", tags.error().message);
  form = WantedForm{{ConstraintSpec::Kind::kTags, std::move(*tags)}, "tools"};
  if (!marked) return;
  plan.prompt.push_back(model.find(mark));
  plan.begun = mark;
}

// The answer has the form, or is calls of tools.
void allow_calls(Fields& fields, const ModelService& model, const ChatPowers& powers, const ChatPlan& plan,
                 WantedForm& form) {
  const ToolFormat format = *plan.reader.tools;
  const std::string mark(start_mark(format));
  if (!mark.empty() && is_control(model, model.find(mark))) {
    return fields.fail(form.field,
                       fmt::format("this model begins calls of tools with the control token {}, which no form "
                                   "can hold; leave it out, or set tool_choice to none or required",
                                   mark));
  }
  auto tags = tool_call_tags({.format = format, .tools_json = powers.tools, .parallel = powers.parallel});
  if (!tags.ok()) return fields.fail("tools", tags.error().message);
  form.form.or_tags = std::move(*tags);
}

// A form begins after the thoughts.
void place_form(Fields& fields, const ModelService& model, const ThoughtMarks& marks, bool open, WantedForm& wanted) {
  if (marks.begin.empty()) return;
  const bool control = is_control(model, model.find(marks.end));
  if (control && open) {
    return fields.fail(wanted.field, "this model's thoughts cannot be followed by a form; switch them off");
  }
  if (control) return;  // no control token can come, so the form begins at once
  wanted.form.thoughts = open ? ConstraintSpec::Thoughts::kAreOpen : ConstraintSpec::Thoughts::kMayCome;
  wanted.form.think_begin = marks.begin;
  wanted.form.think_end = marks.end;
}

}  // namespace

ChatPowers read_chat_powers(Fields& fields) {
  ChatPowers powers;
  const std::string thoughts = fields.text("reasoning_format").value_or("auto");
  powers.split_thoughts = thoughts != "none";
  const Json* tools = fields.array("tools");
  if (tools == nullptr || tools->empty()) {
    if (const Json* choice = fields.find("tool_choice"); choice != nullptr && *choice != "none" && *choice != "auto") {
      fields.fail("tool_choice", "needs tools");
    }
    return powers;
  }
  if (tools->size() > kMaxTools) fields.fail("tools", fmt::format("at most {} tools", kMaxTools));
  for (size_t i = 0; i < tools->size() && fields.ok(); ++i)
    check_tool(fields, (*tools)[i], fmt::format("tools[{}]", i));
  powers.choice = Choice::kAuto;
  powers.tools = to_text(*tools);
  powers.parallel = fields.boolean("parallel_tool_calls").value_or(true);
  read_choice(fields, powers);
  return powers;
}

std::optional<ChatPlan> plan_chat(Fields& fields, const ModelService& model, Json messages, ChatInput chat,
                                  const ChatPowers& powers, std::optional<WantedForm>& form) {
  const std::string& chat_template = model.card().chat_template;
  const ThoughtMarks marks = thought_marks_of(chat_template);
  ChatPlan plan;
  if (powers.split_thoughts) plan.reader.thoughts = marks;
  add_shown(model, marks.begin, plan.shown);
  add_shown(model, marks.end, plan.shown);
  parse_arguments(messages);
  if (powers.choice != Choice::kNone) {
    plan.reader.tools = tool_format_of(chat_template);
    plan.reader.tools_json = powers.tools;
    plan.reader.parallel = powers.parallel;
    for (const std::string& mark : control_marks(*plan.reader.tools)) add_shown(model, mark, plan.shown);
    if (template_shows_tools(chat_template)) {
      chat.tools = powers.tools;
    } else {
      messages = in_words(std::move(messages), powers.tools);
    }
  }
  const auto text = chat_prompt_text(model, messages, chat);
  auto prompt = chat_prompt(model, messages, std::move(chat));
  if (!text.ok() || !prompt.ok()) {
    fields.fail(bad_request("messages", text.ok() ? prompt.error().message : text.error().message));
    return {};
  }
  plan.prompt = std::move(*prompt);
  const bool open = opens_thoughts(*text, marks);
  plan.reader.thoughts_open = open;
  if (powers.choice == Choice::kRequired && fields.ok()) require_call(fields, model, powers, plan, form);
  if (powers.choice == Choice::kAuto && form) allow_calls(fields, model, powers, plan, *form);
  if (form) place_form(fields, model, marks, open, *form);
  return fields.ok() ? std::optional(std::move(plan)) : std::nullopt;
}

std::vector<std::unique_ptr<AnswerReader>> make_readers(const ChatPlan& plan, int n) {
  std::vector<std::unique_ptr<AnswerReader>> readers;
  for (int i = 0; i < n; ++i) {
    readers.push_back(make_answer_reader(plan.reader));
    readers.back()->push(plan.begun);  // says nothing: it only begins calls
  }
  return readers;
}

}  // namespace s3d::serve
