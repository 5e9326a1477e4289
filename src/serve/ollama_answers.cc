// Ollama's POST /api/chat and /api/generate.
#include <fmt/format.h>

#include <limits>
#include <utility>

#include "base/index.h"
#include "serve/answer_forms.h"
#include "serve/chat_plan.h"
#include "serve/figures.h"
#include "serve/fill_in.h"
#include "serve/messages.h"
#include "serve/ollama_common.h"
#include "serve/routes.h"

namespace s3d::serve {
namespace {

enum class Shape : uint8_t { kChat, kGenerate };

struct OllamaRequest {
  Shape shape = Shape::kChat;
  std::string model;  // as shown
  Settings settings;
  std::vector<TokenId> prompt;
  std::optional<ChatPlan> chat;  // its prompt is above
  int wanted_context = 0;        // num_ctx; 0: not said
  bool stream = true;            // Ollama's default
  bool logprobs = false;
};

// "think": a truth value or an effort, for the template. A model without thoughts cannot be asked for them.
std::vector<std::string> read_think(Fields& fields, const ModelService& model) {
  const Json* think = fields.find("think");
  if (think == nullptr) return {};
  if (*think == false) return {"enable_thinking=false"};
  const bool effort = *think == "low" || *think == "medium" || *think == "high" || *think == "max";
  if (*think != true && !effort) {
    fields.fail("think", fmt::format("expected true, false, or low, medium, high or max, got {}", to_text(*think)));
  } else if (thought_marks_of(model.card().chat_template).begin.empty()) {
    fields.fail("think", "this model has no thoughts");
  }
  if (*think == true) return {"enable_thinking=true"};
  return {"enable_thinking=true", "reasoning_effort=" + to_text(*think)};
}

void read_ollama_options(Fields& fields, const ModelService& model, OllamaRequest& request) {
  static const Json kNone = Json::object();
  const Json* options = fields.object("options");
  Fields own(options == nullptr ? kNone : *options, "options.");
  request.settings = read_settings(own, model);
  constexpr int64_t kMaxInt = std::numeric_limits<int>::max();
  // -1: without end; -2: until the context is full. Both are the same here.
  const int64_t predict = own.integer("num_predict", -2, kMaxInt).value_or(request.settings.max_tokens);
  request.settings.max_tokens = static_cast<int>(std::max<int64_t>(predict, -1));
  request.wanted_context = static_cast<int>(own.integer("num_ctx", 0, kMaxInt).value_or(0));
  if (own.error()) fields.fail(*own.error());
}

void read_ollama_common(Fields& fields, const ModelService& model, OllamaRequest& request) {
  read_ollama_options(fields, model, request);
  request.stream = fields.boolean("stream").value_or(true);
  request.settings.form = read_ollama_form(fields);
  request.logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (request.logprobs) request.settings.top_logprobs = static_cast<int>(top.value_or(0));
  if (const Json* images = fields.array("images"); images != nullptr && !images->empty()) {
    fields.fail("images", "this server reads text only");
  }
  read_s3d_member(fields, request.settings);
}

class OllamaFormat final : public AnswerFormat {
 public:
  OllamaFormat(std::shared_ptr<ModelService> model, OllamaRequest request, double load_seconds)
      : model_(std::move(model)), request_(std::move(request)), load_seconds_(load_seconds) {}

  std::string_view stream_type() const override { return "application/x-ndjson"; }
  void piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
             std::string& out) override;
  void end(const AnswerState& answer, std::string& out) override;
  void close(const std::vector<AnswerState>& /*answers*/, std::string& /*out*/) override {}
  void failure(const ApiError& error, std::string& out) override {
    out += to_text(error_body(error, Dialect::kOllama)) + "\n";
  }
  Json whole(const std::vector<AnswerState>& answers) override;

 private:
  Json head(const std::string& content, const std::string& thought) const;
  void add_end(const AnswerState& answer, Json& json) const;

  std::shared_ptr<ModelService> model_;
  OllamaRequest request_;
  double load_seconds_;
  Stopwatch watch_;
};

Json OllamaFormat::head(const std::string& content, const std::string& thought) const {
  Json json = {{"model", request_.model}, {"created_at", rfc3339_now()}};
  Json& holder = request_.shape == Shape::kChat ? json["message"] : json;
  if (request_.shape == Shape::kChat) holder["role"] = "assistant";
  holder[request_.shape == Shape::kChat ? "content" : "response"] = content;
  if (!thought.empty()) holder["thinking"] = thought;
  return json;
}

// Calls with their arguments as an object.
Json calls_json(const std::vector<ToolCall>& calls) {
  Json list = Json::array();
  for (const ToolCall& call : calls) {
    auto arguments = parse_json(call.arguments);
    list.push_back({{"id", call.id},
                    {"function",
                     {{"index", list.size()},
                      {"name", call.name},
                      {"arguments", arguments.ok() ? *arguments : Json(call.arguments)}}}});
  }
  return list;
}

void OllamaFormat::piece(const AnswerState& /*answer*/, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
                         std::string& out) {
  const bool tells = (request_.logprobs || request_.settings.token_details) && !tokens.empty();
  if (delta.content.empty() && delta.thought.empty() && !tells) return;  // calls are told at the end, as a whole
  Json json = head(delta.content, delta.thought);
  json["done"] = false;
  if (request_.logprobs) json["logprobs"] = logprobs_json(*model_, tokens);
  if (request_.settings.token_details) json["s3d"] = {{"tokens", origins_json(*model_, tokens)}};
  out += to_text(json) + "\n";
}

void OllamaFormat::add_end(const AnswerState& answer, Json& json) const {
  const auto nanoseconds = [](double seconds) { return static_cast<int64_t>(seconds * 1e9); };
  const Figures figures = sum_of({answer}, 1);
  json["done"] = true;
  json["done_reason"] = openai_reason(answer) == "length" ? "length" : "stop";
  json["total_duration"] = nanoseconds(watch_.seconds() + load_seconds_);
  json["load_duration"] = nanoseconds(load_seconds_);
  json["prompt_eval_count"] = figures.timings.prompt_tokens;
  json["prompt_eval_duration"] = nanoseconds(figures.timings.prefill_seconds);
  json["eval_count"] = figures.answer_tokens;
  json["eval_duration"] = nanoseconds(figures.timings.decode_seconds);
  json["metrics"] = {{"speculative_decoding", speculation_json(figures.spec)}};
  if (request_.shape != Shape::kGenerate) return;
  json["context"] = request_.prompt;
  for (const AnswerToken& token : answer.tokens) json["context"].push_back(token.id);
}

void OllamaFormat::end(const AnswerState& answer, std::string& out) {
  if (!answer.calls.empty()) {
    Json calls = head("", "");
    (request_.shape == Shape::kChat ? calls["message"] : calls)["tool_calls"] = calls_json(answer.calls);
    calls["done"] = false;
    out += to_text(calls) + "\n";
  }
  Json json = head("", "");
  add_end(answer, json);
  out += to_text(json) + "\n";
}

Json OllamaFormat::whole(const std::vector<AnswerState>& answers) {
  const AnswerState& answer = answers[0];
  Json json = head(answer.content, answer.thought);
  if (!answer.calls.empty()) {
    (request_.shape == Shape::kChat ? json["message"] : json)["tool_calls"] = calls_json(answer.calls);
  }
  if (request_.logprobs) json["logprobs"] = logprobs_json(*model_, answer.tokens);
  add_end(answer, json);
  return json;
}

void run_ollama(const CallPtr& call, const std::shared_ptr<ModelService>& model, OllamaRequest request) {
  auto jobs = make_jobs(*call, *model, request.settings, request.shape == Shape::kChat ? "messages" : "prompt",
                        {request.prompt}, 1);
  if (!jobs) return;
  AnswerPlan plan;
  plan.model = model;
  plan.jobs = std::move(*jobs);
  if (request.chat) {
    plan.jobs[0].shown_tokens = request.chat->shown;
    plan.readers = make_readers(*request.chat, 1);
  }
  plan.stream = request.stream;
  plan.keep_tokens = request.shape == Shape::kGenerate || (!request.stream && request.logprobs);
  if (request.wanted_context > model->card().context) {
    plan.headers.add("X-S3D-Warning", fmt::format("num_ctx {} was cut to {}, the context of this server",
                                                  request.wanted_context, model->card().context));
  }
  plan.format = std::make_unique<OllamaFormat>(model, std::move(request), call->watch.seconds());
  run_answers(call, std::move(plan));
}

// A request without a prompt asks that the model be loaded, or unloaded.
void answer_load(const CallPtr& call, const ModelService& model, Shape shape, const std::string& shown,
                 KeepAlive keep_alive) {
  const bool unload = keep_alive.seconds == 0;
  if (unload) call->services.models.unload(model.card().id);
  Json json = {{"model", shown}, {"created_at", rfc3339_now()}};
  if (shape == Shape::kChat) {
    json["message"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    json["response"] = "";
  }
  json["done"] = true;
  json["done_reason"] = unload ? "unload" : "load";
  call->send_json(json);
}

void answer_ollama_chat(const CallPtr& call, const Json& body, const RequestHead& head,
                        const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  const Json* messages = fields.array("messages");
  if (fields.ok() && (messages == nullptr || messages->empty())) {
    return answer_load(call, *model, Shape::kChat, head.model, head.keep_alive);
  }
  OllamaRequest request;
  request.shape = Shape::kChat;
  request.model = head.model;
  read_ollama_common(fields, *model, request);
  const Json clean = read_messages(fields, "messages");
  for (int i = 0; i < isize(clean) && fields.ok(); ++i) {
    const Json images = clean[usize(i)].value("images", Json());
    if (!images.empty()) fields.fail(fmt::format("messages[{}].images", i), "this server reads text only");
  }
  ChatInput chat;
  chat.variables = read_think(fields, *model);
  if (fields.error()) return call->send_error(*fields.error());
  const ChatPowers powers = read_chat_powers(fields);
  if (fields.error()) return call->send_error(*fields.error());
  request.chat = plan_chat(fields, *model, clean, std::move(chat), powers, request.settings.form);
  if (!request.chat) return call->send_error(*fields.error());
  request.prompt = request.chat->prompt;
  run_ollama(call, model, std::move(request));
}

// The prompt of /api/generate: raw, with a gap to be filled, or as the only question of a chat, whose answer may begin
// with thoughts.
void read_generate_prompt(Fields& fields, const ModelService& model, const std::string& text, OllamaRequest& request) {
  const std::string suffix = fields.text("suffix").value_or("");
  if (!suffix.empty()) {
    auto filled = fill_in_prompt(model, {.before = text, .after = suffix});
    if (!filled.ok()) return fields.fail(bad_request("prompt", filled.error().message));
    request.prompt = std::move(*filled);
    return;
  }
  if (fields.boolean("raw").value_or(false) || model.card().chat_template.empty()) {
    request.prompt = model.tokenize(text, /*add_special=*/true, /*parse_special=*/true);
    return;
  }
  Json messages = Json::array();
  if (const auto system = fields.text("system")) messages.push_back({{"role", "system"}, {"content", *system}});
  messages.push_back({{"role", "user"}, {"content", text}});
  ChatInput chat;
  chat.variables = read_think(fields, model);
  if (!fields.ok()) return;
  request.chat = plan_chat(fields, model, std::move(messages), std::move(chat), {}, request.settings.form);
  if (request.chat) request.prompt = request.chat->prompt;
}

void answer_ollama_generate(const CallPtr& call, const Json& body, const RequestHead& head,
                            const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  const std::string text = fields.text("prompt").value_or("");
  if (text.empty() && fields.ok()) {
    return answer_load(call, *model, Shape::kGenerate, head.model, head.keep_alive);
  }
  OllamaRequest request;
  request.shape = Shape::kGenerate;
  request.model = head.model;
  read_ollama_common(fields, *model, request);
  fields.refuse_unless("template", "", "templates are those of the model's file here; send the whole prompt with raw");
  const std::vector<TokenId> context = fields.tokens("context");
  for (const TokenId id : context) {
    if (id >= model->card().vocab_size) fields.fail("context", fmt::format("{} is no token of this model", id));
  }
  if (fields.ok()) read_generate_prompt(fields, *model, text, request);
  if (fields.error()) return call->send_error(*fields.error());
  request.prompt.insert(request.prompt.begin(), context.begin(), context.end());
  run_ollama(call, model, std::move(request));
}

}  // namespace

void handle_ollama_chat(const CallPtr& call) {
  answer_with_model(call, answer_ollama_chat);
}

void handle_ollama_generate(const CallPtr& call) {
  answer_with_model(call, answer_ollama_generate);
}

}  // namespace s3d::serve
