// POST /v1/responses, without a memory: each request brings the whole conversation.
#include <fmt/format.h>

#include <utility>

#include "base/index.h"
#include "serve/answer_forms.h"
#include "serve/chat_plan.h"
#include "serve/event_format.h"
#include "serve/figures.h"
#include "serve/messages.h"
#include "serve/request.h"
#include "serve/routes.h"

namespace s3d::serve {
namespace {

// NOLINTNEXTLINE(bugprone-exception-escape): JSON allocates while it is destroyed, here as everywhere.
struct ResponseRequest {
  Settings settings;
  ChatInput chat;
  Json messages;
  ChatPowers powers;
  bool stream = false;
  bool logprobs = false;  // "include" asks for message.output_text.logprobs
  Json echo;              // members of the request that the answer repeats
};

// One item of "input" as a message of a chat. Null: an item that says nothing to the model.
Json item_message(Fields& fields, const Json& item, const std::string& where) {
  if (!item.is_object()) {
    fields.fail(where, fmt::format("expected an object, got {}", type_name(item)));
    return {};
  }
  const std::string type = item.value("type", Json("message")).dump();
  if (type == "\"message\"") return item;
  if (type == "\"reasoning\"") return nullptr;  // templates drop old thoughts
  if (type == "\"function_call\"") {
    Json function = {{"name", item.value("name", Json(""))}, {"arguments", item.value("arguments", Json("{}"))}};
    const Json id = item.contains("call_id") ? item["call_id"] : Json("");
    return {{"role", "assistant"},
            {"content", nullptr},
            {"tool_calls", Json::array({{{"id", id}, {"type", "function"}, {"function", std::move(function)}}})}};
  }
  if (type == "\"function_call_output\"") {
    return {{"role", "tool"},
            {"tool_call_id", item.value("call_id", Json(""))},
            {"content", item.value("output", Json(""))}};
  }
  fields.fail(where + ".type", fmt::format("{} is not supported", type));
  return {};
}

// "instructions" and "input" as the messages of a chat, checked like those of chat completions.
Json read_input(Fields& fields) {
  Json messages = Json::array();
  if (const auto instructions = fields.text("instructions")) {
    messages.push_back({{"role", "system"}, {"content", *instructions}});
  }
  const Json* input = fields.find("input");
  if (input == nullptr || !(input->is_string() || input->is_array())) {
    fields.fail("input", "expected a text or a list of items");
    return messages;
  }
  if (input->is_string()) {
    messages.push_back({{"role", "user"}, {"content", *input}});
  } else {
    for (int i = 0; i < isize(*input) && fields.ok(); ++i) {
      Json message = item_message(fields, (*input)[usize(i)], fmt::format("input[{}]", i));
      if (!message.is_null()) messages.push_back(std::move(message));
    }
  }
  const Json holder = {{"input", std::move(messages)}};
  Fields own(holder);
  Json clean = read_messages(own, "input");
  if (own.error()) fields.fail(*own.error());
  return clean;
}

// Tools and their choice in the form of chat completions, which has one more object in each.
Json in_chat_form(const Json& body) {
  const auto nested = [](const Json& flat) -> Json {
    if (!flat.is_object() || !flat.contains("name") || flat.contains("function")) return flat;
    Json function = flat;
    function.erase("type");
    return {{"type", flat.value("type", Json("function"))}, {"function", std::move(function)}};
  };
  Json chat = Json::object();
  for (const char* name : {"tools", "tool_choice", "parallel_tool_calls"}) {
    if (body.contains(name)) chat[name] = body[name];
  }
  if (chat.contains("tool_choice")) chat["tool_choice"] = nested(chat["tool_choice"]);
  if (chat.contains("tools") && chat["tools"].is_array()) {
    for (Json& tool : chat["tools"]) tool = nested(tool);
  }
  return chat;
}

// As the answer repeats them: with all members that clients expect.
Json echoed_tools(Json tools) {
  if (!tools.is_array()) return Json::array();
  for (Json& tool : tools) {
    for (const char* name : {"description", "parameters", "strict"}) {
      if (tool.is_object() && !tool.contains(name)) tool[name] = nullptr;
    }
  }
  return tools;
}

Json read_echo(const Json& body, const Settings& settings) {
  const auto given = [&](const char* name, const Json& otherwise) {
    const auto at = body.find(name);
    return at == body.end() || at->is_null() ? otherwise : *at;
  };
  return {{"instructions", given("instructions", nullptr)},
          {"max_output_tokens", given("max_output_tokens", nullptr)},
          {"parallel_tool_calls", given("parallel_tool_calls", true)},
          {"previous_response_id", nullptr},
          {"reasoning", given("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
          {"store", false},
          {"temperature", settings.sampler.temperature},
          {"text", given("text", {{"format", {{"type", "text"}}}})},
          {"tool_choice", given("tool_choice", "auto")},
          {"tools", echoed_tools(given("tools", Json::array()))},
          {"top_p", settings.sampler.top_p},
          {"truncation", "disabled"},
          {"user", given("user", nullptr)},
          {"metadata", given("metadata", Json::object())},
          {"presence_penalty", settings.sampler.presence_penalty},
          {"frequency_penalty", settings.sampler.frequency_penalty},
          {"top_logprobs", std::max(settings.top_logprobs, 0)},
          {"service_tier", "default"},
          {"background", false},
          {"max_tool_calls", nullptr},
          {"safety_identifier", given("safety_identifier", nullptr)},
          {"prompt_cache_key", given("prompt_cache_key", nullptr)}};
}

void refuse_memory(Fields& fields) {
  constexpr std::string_view kWhy = "this server keeps no conversations: send the whole one as input";
  fields.refuse_unless("previous_response_id", nullptr, kWhy);
  fields.refuse_unless("conversation", nullptr, kWhy);
  fields.refuse_unless("prompt", nullptr, "this server keeps no prompts");
  fields.refuse_unless("background", false, "this server answers while the client waits");
  fields.refuse_unless("truncation", "disabled", "this server cuts no prompts");
}

void read_output_form(Fields& fields, ResponseRequest& request) {
  if (const Json* text = fields.object("text")) {
    Fields own(*text, "text.");
    request.settings.form = read_response_format(own, "format");
    if (request.settings.form) request.settings.form->field = "text.format";
    if (own.error()) fields.fail(*own.error());
  }
  if (const Json* reasoning = fields.object("reasoning")) {
    Fields own(*reasoning, "reasoning.");
    if (const auto effort = own.text("effort")) {
      request.chat.variables.push_back("reasoning_effort=" + to_text(*effort));
      if (*effort == "none") request.chat.variables.emplace_back("enable_thinking=false");
    }
    if (own.error()) fields.fail(*own.error());
  }
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
  const std::vector<std::string> include = fields.texts("include").value_or(std::vector<std::string>());
  for (const std::string& wanted : include) request.logprobs |= wanted == "message.output_text.logprobs";
  if (request.logprobs) request.settings.top_logprobs = static_cast<int>(top.value_or(0));
}

ResponseRequest read_response(Fields& fields, const Json& body, const ModelService& model) {
  ResponseRequest request;
  request.stream = fields.boolean("stream").value_or(false);
  request.settings = read_settings(fields, model);
  request.settings.max_tokens = read_max_tokens(fields, "max_output_tokens").value_or(request.settings.max_tokens);
  request.messages = read_input(fields);
  read_output_form(fields, request);
  const Json chat_form = in_chat_form(body);
  Fields tools(chat_form);
  request.powers = read_chat_powers(tools);
  if (tools.error()) fields.fail(*tools.error());
  refuse_memory(fields);
  read_s3d_member(fields, request.settings);
  request.echo = read_echo(body, request.settings);
  return request;
}

// Items of "output" in the order in which they begin: a thought, a message, calls of tools.
class ResponseFormat final : public EventFormat {
 public:
  ResponseFormat(std::shared_ptr<ModelService> model, AnswerIdentity identity, ResponseRequest request)
      : EventFormat(Dialect::kOpenAi),
        model_(std::move(model)),
        identity_(std::move(identity)),
        request_(std::move(request)) {}

  void begin(const std::vector<AnswerState>& answers, std::string& out) override;
  void piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
             std::string& out) override;
  void end(const AnswerState& answer, std::string& out) override;
  void close(const std::vector<AnswerState>& /*answers*/, std::string& /*out*/) override {}
  void failure(const ApiError& error, std::string& out) override;
  Json whole(const std::vector<AnswerState>& answers) override;

 private:
  enum class Kind : uint8_t { kThought, kMessage, kCall };
  struct Item {
    Kind kind;
    int call = 0;  // index of the call
    std::string id;
  };

  void event(std::string_view type, const Json& body, std::string& out);
  Json response(std::string_view status) const;
  Json finished(const AnswerState& answer) const;
  Json item_json(const Item& item, const AnswerState& answer, std::string_view status) const;
  Json part_json(const AnswerState& answer) const;
  // The last item, if it is of that kind; else a new one, after the last was closed.
  const Item& current(Kind kind, int call, const AnswerState& answer, std::string& out);
  void open_item(const AnswerState& answer, std::string& out);
  void close_item(const AnswerState& answer, std::string& out);
  Json place(const Item& item) const { return {{"item_id", item.id}, {"output_index", isize(items_) - 1}}; }

  std::shared_ptr<ModelService> model_;
  AnswerIdentity identity_;
  ResponseRequest request_;
  std::vector<Item> items_;
  int sequence_number_ = 0;
};

void ResponseFormat::event(std::string_view type, const Json& body, std::string& out) {
  Json json = {{"type", type}, {"sequence_number", sequence_number_++}};
  json.update(body);
  out += fmt::format("event: {}\n{}", type, sse_event(json));
}

Json ResponseFormat::response(std::string_view status) const {
  Json json = {{"id", identity_.id},
               {"object", "response"},
               {"created_at", identity_.created},
               {"status", status},
               {"completed_at", status == "in_progress" ? Json(nullptr) : Json(now_seconds())},
               {"error", nullptr},
               {"incomplete_details", nullptr},
               {"model", identity_.model},
               {"output", Json::array()},
               {"usage", nullptr}};
  json.update(request_.echo);
  return json;
}

Json ResponseFormat::part_json(const AnswerState& answer) const {
  Json part = {{"type", "output_text"}, {"text", answer.content}, {"annotations", Json::array()}};
  part["logprobs"] = request_.logprobs ? logprobs_json(*model_, answer.tokens) : Json::array();
  return part;
}

Json ResponseFormat::item_json(const Item& item, const AnswerState& answer, std::string_view status) const {
  const bool begun = status == "in_progress";
  if (item.kind == Kind::kMessage) {
    return {{"id", item.id},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", begun ? Json::array() : Json::array({part_json(answer)})}};
  }
  if (item.kind == Kind::kThought) {
    Json content = Json::array();
    if (!begun) content.push_back({{"type", "reasoning_text"}, {"text", answer.thought}});
    return {{"id", item.id},
            {"type", "reasoning"},
            {"status", status},
            {"summary", Json::array()},
            {"content", std::move(content)}};
  }
  const ToolCall& call = answer.calls[usize(item.call)];
  return {{"id", item.id},      {"type", "function_call"}, {"status", status},
          {"call_id", call.id}, {"name", call.name},       {"arguments", begun ? std::string() : call.arguments}};
}

void ResponseFormat::begin(const std::vector<AnswerState>& /*answers*/, std::string& out) {
  event("response.created", {{"response", response("in_progress")}}, out);
  event("response.in_progress", {{"response", response("in_progress")}}, out);
}

const ResponseFormat::Item& ResponseFormat::current(Kind kind, int call, const AnswerState& answer, std::string& out) {
  const bool same = !items_.empty() && items_.back().kind == kind && items_.back().call == call;
  if (same) return items_.back();
  if (!items_.empty()) close_item(answer, out);
  const std::string_view prefix = kind == Kind::kMessage ? "msg_" : kind == Kind::kThought ? "rs_" : "fc_";
  items_.push_back({kind, call, new_id(prefix)});
  open_item(answer, out);
  return items_.back();
}

void ResponseFormat::open_item(const AnswerState& answer, std::string& out) {
  const Item& item = items_.back();
  event("response.output_item.added",
        {{"output_index", isize(items_) - 1}, {"item", item_json(item, answer, "in_progress")}}, out);
  if (item.kind != Kind::kMessage) return;
  Json body = place(item);
  body["content_index"] = 0;
  body["part"] = {{"type", "output_text"}, {"text", ""}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  event("response.content_part.added", body, out);
}

void ResponseFormat::close_item(const AnswerState& answer, std::string& out) {
  const Item& item = items_.back();
  Json body = place(item);
  if (item.kind == Kind::kMessage) {
    const Json part = part_json(answer);
    body["content_index"] = 0;
    Json text = body;
    text["text"] = part["text"];
    text["logprobs"] = part["logprobs"];
    event("response.output_text.done", text, out);
    body["part"] = part;
    event("response.content_part.done", body, out);
  } else if (item.kind == Kind::kThought) {
    body["content_index"] = 0;
    body["text"] = answer.thought;
    event("response.reasoning_text.done", body, out);
  } else {
    body["arguments"] = answer.calls[usize(item.call)].arguments;
    body["name"] = answer.calls[usize(item.call)].name;
    event("response.function_call_arguments.done", body, out);
  }
  event("response.output_item.done",
        {{"output_index", isize(items_) - 1}, {"item", item_json(item, answer, "completed")}}, out);
}

void ResponseFormat::piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
                           std::string& out) {
  if (!delta.thought.empty()) {
    Json body = place(current(Kind::kThought, 0, answer, out));
    body["content_index"] = 0;
    body["delta"] = delta.thought;
    event("response.reasoning_text.delta", body, out);
  }
  const bool origins = request_.settings.token_details && !tokens.empty();
  if (!delta.content.empty() || origins) {
    Json body = place(current(Kind::kMessage, 0, answer, out));
    body["content_index"] = 0;
    body["delta"] = delta.content;
    body["logprobs"] = request_.logprobs ? logprobs_json(*model_, tokens) : Json::array();
    if (origins) body["s3d"] = {{"tokens", origins_json(*model_, tokens)}};
    event("response.output_text.delta", body, out);
  }
  for (const CallDelta& call : delta.calls) {
    Json body = place(current(Kind::kCall, call.index, answer, out));
    if (call.arguments.empty()) continue;
    body["delta"] = call.arguments;
    event("response.function_call_arguments.delta", body, out);
  }
}

// The response object of an answer that has ended; its items are those that were streamed, or those that there are.
Json ResponseFormat::finished(const AnswerState& answer) const {
  const bool cut = openai_reason(answer) == "length";
  Json json = response(cut ? "incomplete" : "completed");
  if (cut) json["incomplete_details"] = {{"reason", "max_output_tokens"}};
  std::vector<Item> items = items_;
  if (items.empty()) {
    if (!answer.thought.empty()) items.push_back({Kind::kThought, 0, new_id("rs_")});
    if (!answer.content.empty() || answer.calls.empty()) items.push_back({Kind::kMessage, 0, new_id("msg_")});
    for (int i = 0; i < isize(answer.calls); ++i) items.push_back({Kind::kCall, i, new_id("fc_")});
  }
  for (const Item& item : items) {
    json["output"].push_back(item_json(item, answer, cut && &item == &items.back() ? "incomplete" : "completed"));
  }
  const Figures figures = sum_of({answer}, 1);
  json["usage"] = {{"input_tokens", figures.timings.prompt_tokens},
                   {"input_tokens_details", {{"cached_tokens", figures.timings.cached_tokens}}},
                   {"output_tokens", figures.answer_tokens},
                   {"output_tokens_details", {{"reasoning_tokens", figures.thought_tokens}}},
                   {"total_tokens", figures.timings.prompt_tokens + figures.answer_tokens}};
  json["timings"] = timings_json(figures);
  json["metrics"] = {{"speculative_decoding", speculation_json(figures.spec)}};
  return json;
}

void ResponseFormat::end(const AnswerState& answer, std::string& out) {
  if (items_.empty()) current(Kind::kMessage, 0, answer, out);
  close_item(answer, out);
  const bool cut = openai_reason(answer) == "length";
  event(cut ? "response.incomplete" : "response.completed", {{"response", finished(answer)}}, out);
}

void ResponseFormat::failure(const ApiError& error, std::string& out) {
  Json json = response("failed");
  json["error"] = {{"code", "server_error"}, {"message", error.message}};
  event("response.failed", {{"response", std::move(json)}}, out);
}

Json ResponseFormat::whole(const std::vector<AnswerState>& answers) {
  return finished(answers[0]);
}

void answer_response(const CallPtr& call, const Json& body, const RequestHead& head,
                     const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  ResponseRequest request = read_response(fields, body, *model);
  if (fields.error()) return call->send_error(*fields.error());
  auto chat = plan_chat(fields, *model, request.messages, request.chat, request.powers, request.settings.form);
  if (!chat) return call->send_error(*fields.error());
  auto jobs = make_jobs(*call, *model, request.settings, "input", {std::move(chat->prompt)}, 1);
  if (!jobs) return;
  for (Job& job : *jobs) job.shown_tokens = chat->shown;
  AnswerPlan plan;
  plan.model = model;
  plan.jobs = std::move(*jobs);
  plan.stream = request.stream;
  plan.keep_tokens = request.logprobs;
  plan.readers = make_readers(*chat, 1);
  const AnswerIdentity identity{new_id("resp_"), shown_model(head.model, *model), model->card().fingerprint,
                                now_seconds()};
  plan.format = std::make_unique<ResponseFormat>(model, identity, std::move(request));
  run_answers(call, std::move(plan));
}

}  // namespace

void handle_responses(const CallPtr& call) {
  answer_with_model(call, answer_response);
}

}  // namespace s3d::serve
