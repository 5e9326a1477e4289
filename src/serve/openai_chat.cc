// POST /v1/chat/completions.
#include <fmt/format.h>

#include <array>
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
struct ChatRequest {
  Delivery delivery;
  Settings settings;
  ChatInput chat;
  ChatPowers powers;
  Json messages;
  std::string prediction;
  bool logprobs = false;
};

// Fields that change the answer and cannot be had.
void refuse_unknown_powers(Fields& fields) {
  fields.refuse_unless("functions", Json::array(), "is the old form of tools, which this server does not take");
  fields.refuse_unless("function_call", "none", "is the old form of tool_choice, which this server does not take");
  fields.refuse_unless("audio", nullptr, "this server gives text only");
  fields.refuse_unless("modalities", {"text"}, "this server gives text only");
  fields.refuse_unless("web_search_options", nullptr, "this server searches nothing");
}

std::string read_prediction(Fields& fields) {
  const Json* prediction = fields.object("prediction");
  if (prediction == nullptr || !prediction->contains("content")) return "";
  return content_text(fields, (*prediction)["content"], "prediction.content");
}

void read_logprobs(Fields& fields, ChatRequest& request) {
  request.logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (request.logprobs) request.settings.top_logprobs = static_cast<int>(top.value_or(0));
  if (top.value_or(0) > 0 && !request.logprobs) fields.fail("top_logprobs", "needs logprobs: true");
}

ChatRequest read_chat(Fields& fields, const ModelService& model, int max_answers) {
  ChatRequest request;
  request.delivery = read_delivery(fields, max_answers);
  request.settings = read_settings(fields, model);
  const auto newer = read_max_tokens(fields, "max_completion_tokens"), older = read_max_tokens(fields, "max_tokens");
  request.settings.max_tokens = newer.value_or(older.value_or(request.settings.max_tokens));
  request.messages = read_messages(fields, "messages");
  request.chat.variables = read_template_variables(fields);
  request.powers = read_chat_powers(fields);
  request.prediction = read_prediction(fields);
  read_logprobs(fields, request);
  request.settings.form = read_openai_form(fields);
  read_s3d_member(fields, request.settings);
  refuse_unknown_powers(fields);
  return request;
}

// Chat completions, whole and as a stream.
class ChatFormat final : public EventFormat {
 public:
  ChatFormat(std::shared_ptr<ModelService> model, AnswerIdentity identity, const ChatRequest& request,
             int prompt_tokens)
      : EventFormat(Dialect::kOpenAi),
        model_(std::move(model)),
        identity_(std::move(identity)),
        delivery_(request.delivery),
        logprobs_(request.logprobs),
        origins_(request.settings.token_details),
        prompt_tokens_(prompt_tokens) {}

  void begin(const std::vector<AnswerState>& answers, std::string& out) override;
  void piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
             std::string& out) override;
  void end(const AnswerState& answer, std::string& out) override;
  void close(const std::vector<AnswerState>& answers, std::string& out) override;
  Json whole(const std::vector<AnswerState>& answers) override;

 private:
  Json head(std::string_view object) const;
  Json chunk(const AnswerState& answer, Json delta, const Json& finish_reason) const;
  Json choice(const AnswerState& answer) const;

  std::shared_ptr<ModelService> model_;
  AnswerIdentity identity_;
  Delivery delivery_;
  bool logprobs_, origins_;
  int prompt_tokens_;
};

Json ChatFormat::head(std::string_view object) const {
  return identity_json(identity_, object);
}

Json ChatFormat::chunk(const AnswerState& answer, Json delta, const Json& finish_reason) const {
  Json json = head("chat.completion.chunk");
  json["choices"] = Json::array({{{"index", answer.index},
                                  {"delta", std::move(delta)},
                                  {"logprobs", nullptr},
                                  {"finish_reason", finish_reason}}});
  if (delivery_.usage_everywhere) {
    Figures figures;
    figures.timings.prompt_tokens = prompt_tokens_;
    figures.answer_tokens = answer.token_count;
    json["usage"] = usage_json(figures);
  } else if (delivery_.usage_chunk) {
    json["usage"] = nullptr;
  }
  return json;
}

void ChatFormat::begin(const std::vector<AnswerState>& answers, std::string& out) {
  for (const AnswerState& answer : answers) {
    out += sse_event(chunk(answer, {{"role", "assistant"}, {"content", ""}}, nullptr));
  }
}

// The parts of a call of a tool, in OpenAI's form.
Json calls_delta(const std::vector<CallDelta>& calls) {
  Json list = Json::array();
  for (const CallDelta& call : calls) {
    Json json = {{"index", call.index}};
    if (!call.id.empty()) {
      json["id"] = call.id;
      json["type"] = "function";
    }
    json["function"] = Json::object();
    if (!call.name.empty()) json["function"]["name"] = call.name;
    json["function"]["arguments"] = call.arguments;
    list.push_back(std::move(json));
  }
  return list;
}

void ChatFormat::piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
                       std::string& out) {
  const bool tells_tokens = (logprobs_ || origins_) && !tokens.empty();
  if (delta.empty() && !tells_tokens) return;
  Json json = Json::object();
  if (!delta.content.empty() || (delta.thought.empty() && delta.calls.empty())) json["content"] = delta.content;
  if (!delta.thought.empty()) {  // clients differ in the name that they read
    json["reasoning_content"] = delta.thought;
    json["reasoning"] = delta.thought;
  }
  if (!delta.calls.empty()) json["tool_calls"] = calls_delta(delta.calls);
  Json event = chunk(answer, std::move(json), nullptr);
  if (logprobs_ && !tokens.empty()) {
    event["choices"][0]["logprobs"] = {{"content", logprobs_json(*model_, tokens)}, {"refusal", nullptr}};
  }
  if (origins_) event["s3d"] = {{"tokens", origins_json(*model_, tokens)}};
  out += sse_event(event);
}

void ChatFormat::end(const AnswerState& answer, std::string& out) {
  Json event = chunk(answer, Json::object(), openai_reason(answer));
  const Figures figures = sum_of({answer}, 1);
  event["timings"] = timings_json(figures);
  event["metrics"] = {{"speculative_decoding", speculation_json(figures.spec)}};
  if (origins_ && answer.end.plain_tps > 0) event["s3d"] = {{"plain_tokens_per_second", answer.end.plain_tps}};
  out += sse_event(event);
}

void ChatFormat::close(const std::vector<AnswerState>& answers, std::string& out) {
  if (delivery_.usage_chunk) {
    const Figures figures = sum_of(answers, delivery_.answers);
    Json event = head("chat.completion.chunk");
    event["choices"] = Json::array();
    event["usage"] = usage_json(figures);
    event["timings"] = timings_json(figures);
    out += sse_event(event);
  }
  out += "data: [DONE]\n\n";
}

Json ChatFormat::choice(const AnswerState& answer) const {
  Json message = {{"role", "assistant"}, {"content", answer.content}, {"refusal", nullptr}};
  if (!answer.thought.empty()) {
    message["reasoning_content"] = answer.thought;
    message["reasoning"] = answer.thought;
  }
  if (!answer.calls.empty()) {
    if (answer.content.empty()) message["content"] = nullptr;
    message["tool_calls"] = Json::array();
    for (const ToolCall& call : answer.calls) {
      message["tool_calls"].push_back(
          {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
  }
  Json json = {{"index", answer.index}, {"message", std::move(message)}, {"logprobs", nullptr}};
  if (logprobs_) json["logprobs"] = {{"content", logprobs_json(*model_, answer.tokens)}, {"refusal", nullptr}};
  json["finish_reason"] = openai_reason(answer);
  return json;
}

Json ChatFormat::whole(const std::vector<AnswerState>& answers) {
  Json json = head("chat.completion");
  json["choices"] = Json::array();
  for (const AnswerState& answer : answers) json["choices"].push_back(choice(answer));
  const Figures figures = sum_of(answers, delivery_.answers);
  json["usage"] = usage_json(figures);
  json["timings"] = timings_json(figures);
  json["metrics"] = {{"speculative_decoding", speculation_json(figures.spec)}};
  if (origins_) {
    json["s3d"] = {{"tokens", Json::array()}};
    for (const AnswerState& answer : answers) json["s3d"]["tokens"].push_back(origins_json(*model_, answer.tokens));
  }
  return json;
}

void answer_chat(const CallPtr& call, const Json& body, const RequestHead& head,
                 const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  ChatRequest request = read_chat(fields, *model, call->services.options.max_answers);
  if (fields.error()) return call->send_error(*fields.error());
  auto chat = plan_chat(fields, *model, request.messages, request.chat, request.powers, request.settings.form);
  if (!chat) return call->send_error(*fields.error());
  const int prompt_tokens = isize(chat->prompt);
  auto jobs =
      make_jobs(*call, *model, request.settings, "messages", {std::move(chat->prompt)}, request.delivery.answers);
  if (!jobs) return;
  for (Job& job : *jobs) job.shown_tokens = chat->shown;
  if (!request.prediction.empty()) {
    for (Job& job : *jobs) job.prediction = model->tokenize(request.prediction, false, false);
  }
  AnswerPlan plan;
  plan.model = model;
  plan.jobs = std::move(*jobs);
  plan.readers = make_readers(*chat, request.delivery.answers);
  plan.stream = request.delivery.stream;
  plan.keep_tokens = !plan.stream && (request.logprobs || request.settings.token_details);
  const AnswerIdentity identity{new_id("chatcmpl-"), shown_model(head.model, *model), model->card().fingerprint,
                                now_seconds()};
  plan.format = std::make_unique<ChatFormat>(model, identity, request, prompt_tokens);
  run_answers(call, std::move(plan));
}

}  // namespace

void handle_chat_completions(const CallPtr& call) {
  answer_with_model(call, answer_chat);
}

}  // namespace s3d::serve
