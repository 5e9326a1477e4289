// POST /v1/completions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/index.h"
#include "serve/answer_forms.h"
#include "serve/event_format.h"
#include "serve/figures.h"
#include "serve/fill_in.h"
#include "serve/messages.h"
#include "serve/prompts.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "text/utf8.h"

namespace s3d::serve {
namespace {

constexpr int kMaxPrompts = 256;  // of one request

struct CompletionRequest {
  Delivery delivery;
  Settings settings;
  std::vector<std::vector<TokenId>> prompts;
  std::vector<std::string> echoes;  // [prompts] what stands before each answer; empty: nothing
  bool logprobs = false;
  bool scores = false;  // of the prompts too: echo and logprobs
};

// That begin in some bytes, which may end within one.
size_t characters(std::string_view bytes) {
  return usize(std::count_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string text_of(const ModelService& model, std::span<const TokenId> tokens) {
  std::string bytes;
  for (const TokenId id : tokens) bytes += model.piece(id, /*special=*/false);
  return utf8_replace_broken(bytes);
}

void read_echo(Fields& fields, const ModelService& model, CompletionRequest& request) {
  request.echoes.resize(request.prompts.size());
  if (!fields.boolean("echo").value_or(false)) return;
  request.scores = request.logprobs;
  for (size_t i = 0; i < request.prompts.size(); ++i) request.echoes[i] = text_of(model, request.prompts[i]);
}

// "suffix": the text that stands after the answer, for models that were trained to fill in.
void read_suffix(Fields& fields, const ModelService& model, CompletionRequest& request) {
  const std::optional<std::string> suffix = fields.text("suffix");
  if (!suffix || suffix->empty()) return;
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr || !prompt->is_string()) return fields.fail("suffix", "needs a prompt that is one text");
  auto filled = fill_in_prompt(model, {.before = prompt->get<std::string>(), .after = *suffix});
  if (!filled.ok()) return fields.fail("suffix", filled.error().message);
  request.prompts = {std::move(*filled)};
}

CompletionRequest read_completion(Fields& fields, const ModelService& model, int max_answers) {
  CompletionRequest request;
  request.delivery = read_delivery(fields, max_answers);
  request.settings = read_settings(fields, model);
  request.settings.max_tokens =
      read_max_tokens(fields, "max_tokens", /*least=*/0).value_or(request.settings.max_tokens);
  request.prompts = read_prompts(fields, "prompt", model, kMaxPrompts);
  read_suffix(fields, model, request);
  if (const auto top = fields.integer("logprobs", 0, kMaxTopLogprobs)) {
    request.logprobs = true;
    request.settings.top_logprobs = static_cast<int>(*top);
  }
  read_echo(fields, model, request);
  fields.refuse_unless("best_of", request.delivery.answers, "this server does not choose among answers");
  request.settings.form = read_openai_form(fields);
  read_s3d_member(fields, request.settings);
  return request;
}

class CompletionFormat final : public EventFormat {
 public:
  CompletionFormat(std::shared_ptr<ModelService> model, AnswerIdentity identity, CompletionRequest request)
      : EventFormat(Dialect::kOpenAi),
        model_(std::move(model)),
        identity_(std::move(identity)),
        request_(std::move(request)) {}

  void begin(const std::vector<AnswerState>& answers, std::string& out) override;
  void piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
             std::string& out) override;
  void end(const AnswerState& answer, std::string& out) override;
  void close(const std::vector<AnswerState>& answers, std::string& out) override;
  Json whole(const std::vector<AnswerState>& answers) override;

 private:
  const std::string& echo(const AnswerState& answer) const {
    return request_.echoes[usize(answer.index / request_.delivery.answers)];
  }
  Json object(const AnswerState* answer, const std::string& text, const Json& logprobs, const Json& reason) const;
  Json logprobs(std::span<const AnswerToken> tokens, size_t& offset) const;
  Json all_logprobs(const AnswerState& answer) const;
  Json top_json(const AnswerToken& token) const;
  void tell_echo(const AnswerState& answer, const Json& logprobs, std::string& out);

  std::shared_ptr<ModelService> model_;
  AnswerIdentity identity_;
  CompletionRequest request_;
  std::vector<size_t> offsets_;  // [answers] characters of text whose tokens were told
  std::vector<bool> echoed_;     // [answers]
};

Json CompletionFormat::object(const AnswerState* answer, const std::string& text, const Json& logprobs,
                              const Json& reason) const {
  Json json = identity_json(identity_, "text_completion");
  json["choices"] = Json::array();
  if (answer != nullptr) {
    json["choices"].push_back(
        {{"text", text}, {"index", answer->index}, {"logprobs", logprobs}, {"finish_reason", reason}});
  }
  return json;
}

// The best tokens by their texts, and the token itself, which need not be one of them. Of several tokens with one text
// (parts of characters) the best one counts.
Json CompletionFormat::top_json(const AnswerToken& token) const {
  Json top = Json::object();
  const auto add = [&](TokenId id, float logprob) {
    Json one = token_json(*model_, id, logprob);
    const auto text = one["token"].get<std::string>();
    if (!top.contains(text)) top[text] = std::move(one["logprob"]);
  };
  for (const Alternative& other : token.top) add(other.id, other.logprob);
  add(token.id, token.logprob);
  return top;
}

// The older form of logprobs: lists side by side. `offset`: of the first token in the text, and then of what follows.
Json CompletionFormat::logprobs(std::span<const AnswerToken> tokens, size_t& offset) const {
  Json json = {{"tokens", Json::array()},
               {"token_logprobs", Json::array()},
               {"top_logprobs", Json::array()},
               {"text_offset", Json::array()},
               {"content", Json::array()}};  // llama-server's form
  for (const AnswerToken& token : tokens) {
    const Json own = token_json(*model_, token.id, token.logprob);
    const bool first = std::isnan(token.logprob);  // of the text: nothing foretells it
    json["tokens"].push_back(own["token"]);
    json["token_logprobs"].push_back(first ? Json() : own["logprob"]);
    json["top_logprobs"].push_back(first ? Json() : top_json(token));
    json["text_offset"].push_back(offset);
    if (!first) json["content"].push_back(logprobs_json(*model_, std::span(&token, 1))[0]);
    offset += characters(model_->piece(token.id, /*special=*/false));
  }
  return json;
}

void CompletionFormat::begin(const std::vector<AnswerState>& answers, std::string& out) {
  offsets_.assign(answers.size(), 0);
  echoed_.assign(answers.size(), false);
  for (const AnswerState& answer : answers) {
    if (!echo(answer).empty() && !request_.scores) tell_echo(answer, nullptr, out);
  }
}

void CompletionFormat::tell_echo(const AnswerState& answer, const Json& logprobs, std::string& out) {
  offsets_[usize(answer.index)] = characters(echo(answer));
  echoed_[usize(answer.index)] = true;
  out += sse_event(object(&answer, echo(answer), logprobs, nullptr));
}

void CompletionFormat::piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
                             std::string& out) {
  size_t& offset = offsets_[usize(answer.index)];
  if (!answer.prompt.empty() && !echoed_[usize(answer.index)]) {
    tell_echo(answer, logprobs(answer.prompt, offset), out);
  }
  const bool origins = request_.settings.token_details && !tokens.empty();
  const bool probabilities = request_.logprobs && !tokens.empty();
  if (delta.content.empty() && !origins && !probabilities) return;
  Json json = object(&answer, delta.content, nullptr, nullptr);
  if (probabilities) json["choices"][0]["logprobs"] = logprobs(tokens, offset);
  if (origins) json["s3d"] = {{"tokens", origins_json(*model_, tokens)}};
  if (request_.delivery.usage_everywhere) {
    Figures figures;
    figures.timings.prompt_tokens = isize(request_.prompts[usize(answer.index / request_.delivery.answers)]);
    figures.answer_tokens = answer.token_count;
    json["usage"] = usage_json(figures);
  } else if (request_.delivery.usage_chunk) {
    json["usage"] = nullptr;
  }
  out += sse_event(json);
}

void CompletionFormat::end(const AnswerState& answer, std::string& out) {
  Json json = object(&answer, "", nullptr, openai_reason(answer));
  const Figures figures = sum_of({answer}, 1);
  const bool later = request_.delivery.usage_chunk && !request_.delivery.usage_everywhere;
  json["usage"] = later ? Json() : usage_json(figures);  // llama-server has it here without being asked
  json["timings"] = timings_json(figures);
  json["metrics"] = {{"speculative_decoding", speculation_json(figures.spec)}};
  out += sse_event(json);
}

void CompletionFormat::close(const std::vector<AnswerState>& answers, std::string& out) {
  if (request_.delivery.usage_chunk) {
    const Figures figures = sum_of(answers, request_.delivery.answers);
    Json json = object(nullptr, "", nullptr, nullptr);
    json["usage"] = usage_json(figures);
    json["timings"] = timings_json(figures);
    out += sse_event(json);
  }
  out += "data: [DONE]\n\n";
}

// Of an answer that is not streamed, and of its prompt where that has some.
Json CompletionFormat::all_logprobs(const AnswerState& answer) const {
  std::vector<AnswerToken> tokens = answer.prompt;
  tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
  size_t offset = request_.scores ? 0 : characters(echo(answer));
  return logprobs(tokens, offset);
}

Json CompletionFormat::whole(const std::vector<AnswerState>& answers) {
  Json json = object(nullptr, "", nullptr, nullptr);
  for (const AnswerState& answer : answers) {
    Json one = {{"text", echo(answer) + answer.content}, {"index", answer.index}, {"logprobs", nullptr}};
    if (request_.logprobs) one["logprobs"] = all_logprobs(answer);
    one["finish_reason"] = openai_reason(answer);
    json["choices"].push_back(std::move(one));
  }
  const Figures figures = sum_of(answers, request_.delivery.answers);
  json["usage"] = usage_json(figures);
  json["timings"] = timings_json(figures);
  json["metrics"] = {{"speculative_decoding", speculation_json(figures.spec)}};
  return json;
}

void answer_text_completion(const CallPtr& call, const Json& body, const RequestHead& head,
                            const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  CompletionRequest request = read_completion(fields, *model, call->services.options.max_answers);
  if (fields.error()) return call->send_error(*fields.error());
  auto jobs = make_jobs(*call, *model, request.settings, "prompt", request.prompts, request.delivery.answers);
  if (!jobs) return;
  for (Job& job : *jobs) job.score_prompt = request.scores;
  AnswerPlan plan;
  plan.model = model;
  plan.jobs = std::move(*jobs);
  plan.stream = request.delivery.stream;
  plan.keep_tokens = !plan.stream && request.logprobs;
  const AnswerIdentity identity{new_id("cmpl-"), shown_model(head.model, *model), model->card().fingerprint,
                                now_seconds()};
  plan.format = std::make_unique<CompletionFormat>(model, identity, std::move(request));
  run_answers(call, std::move(plan));
}

}  // namespace

void handle_completions(const CallPtr& call) {
  answer_with_model(call, answer_text_completion);
}

}  // namespace s3d::serve
