// llama-server's POST /completion and /infill.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/index.h"
#include "serve/answer_forms.h"
#include "serve/event_format.h"
#include "serve/figures.h"
#include "serve/fill_in.h"
#include "serve/messages.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "text/utf8.h"

namespace s3d::serve {
namespace {

struct NativeRequest {
  Settings settings;
  std::vector<std::vector<TokenId>> prompts;
  std::string model;                         // as shown
  std::vector<std::string> response_fields;  // the only members of an answer, as "generation_settings/seed"; empty: all
  bool stream = false;
  bool return_tokens = false;
};

constexpr int kMaxNativePrompts = 256;  // of one request

// One prompt: a text, or a list of texts and ids that are joined. llama-server also takes {"prompt_string": a text}.
std::vector<TokenId> read_mixed_prompt(Fields& fields, const Json& prompt, const ModelService& model) {
  if (prompt.is_object() && prompt.contains("prompt_string") && !prompt.contains("multimodal_data")) {
    return read_mixed_prompt(fields, prompt["prompt_string"], model);
  }
  const Json list = prompt.is_array() ? prompt : Json::array({prompt});
  std::vector<TokenId> ids;
  for (const Json& part : list) {
    if (part.is_string()) {
      const bool first = ids.empty();
      const auto more = model.tokenize(part.get_ref<const std::string&>(), /*add_special=*/first, true);
      ids.insert(ids.end(), more.begin(), more.end());
    } else if (part.is_number_unsigned() && part.get<uint64_t>() < static_cast<uint64_t>(model.card().vocab_size)) {
      ids.push_back(part.get<TokenId>());
    } else {
      fields.fail("prompt", fmt::format("expected texts and token ids, got {}", to_text(part)));
      return {};
    }
  }
  return ids;
}

// "prompt": one prompt, or a list of them. A list with a number in it is one.
std::vector<std::vector<TokenId>> read_native_prompts(Fields& fields, const ModelService& model) {
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) {
    fields.fail("prompt", "expected a text, or a list of texts and token ids");
    return {};
  }
  const bool one = !prompt->is_array() || prompt->empty() ||
                   std::any_of(prompt->begin(), prompt->end(), [](const Json& part) { return part.is_number(); });
  if (one) return {read_mixed_prompt(fields, *prompt, model)};
  if (isize(*prompt) > kMaxNativePrompts) fields.fail("prompt", fmt::format("at most {} prompts", kMaxNativePrompts));
  std::vector<std::vector<TokenId>> prompts;
  for (size_t i = 0; i < prompt->size() && fields.ok(); ++i) {
    prompts.push_back(read_mixed_prompt(fields, (*prompt)[i], model));
  }
  return prompts;
}

void read_native_common(Fields& fields, const ModelService& model, NativeRequest& request) {
  request.settings = read_settings(fields, model);
  request.stream = fields.boolean("stream").value_or(false);
  request.return_tokens = fields.boolean("return_tokens").value_or(false);
  request.response_fields = fields.texts("response_fields").value_or(std::vector<std::string>());
  const auto limit = [&](std::string_view name) { return fields.integer(name, -1, std::numeric_limits<int>::max()); };
  const auto predict = limit("n_predict"), most = limit("max_tokens");
  request.settings.max_tokens = static_cast<int>(predict.value_or(most.value_or(request.settings.max_tokens)));
  if (const auto n = fields.integer("n_probs", 0, kMaxTopLogprobs); n.value_or(0) > 0) {
    request.settings.top_logprobs = static_cast<int>(*n);
  }
  request.settings.form = read_native_form(fields);
  fields.refuse_unless("n_keep", 0, "this server never shifts a context");
  fields.refuse_unless("post_sampling_probs", false, "probabilities are those before sampling");
  read_s3d_member(fields, request.settings);
}

class NativeFormat final : public EventFormat {
 public:
  NativeFormat(std::shared_ptr<ModelService> model, NativeRequest request)
      : EventFormat(Dialect::kNative), model_(std::move(model)), request_(std::move(request)) {}

  void piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
             std::string& out) override;
  void end(const AnswerState& answer, std::string& out) override { out += sse_event(chosen(last(answer, ""))); }
  void close(const std::vector<AnswerState>& /*answers*/, std::string& /*out*/) override {}  // no [DONE] here
  Json whole(const std::vector<AnswerState>& answers) override;

 private:
  Json chosen(Json json) const;
  Json last(const AnswerState& answer, const std::string& content) const;
  Json probabilities(std::span<const AnswerToken> tokens) const;
  std::string prompt_text(const AnswerState& answer) const;

  std::shared_ptr<ModelService> model_;
  NativeRequest request_;
};

Json ids_of(std::span<const AnswerToken> tokens) {
  Json ids = Json::array();
  for (const AnswerToken& token : tokens) ids.push_back(token.id);
  return ids;
}

Json NativeFormat::probabilities(std::span<const AnswerToken> tokens) const {
  Json list = Json::array();
  const auto one = [&](TokenId id, float logprob) {
    Json json = {{"id", id}};
    json.update(token_json(*model_, id, logprob));
    return json;
  };
  for (const AnswerToken& token : tokens) {
    Json json = one(token.id, token.logprob);
    json["top_logprobs"] = Json::array();
    for (const Alternative& other : token.top) json["top_logprobs"].push_back(one(other.id, other.logprob));
    list.push_back(std::move(json));
  }
  return list;
}

void NativeFormat::piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
                         std::string& out) {
  const bool tells = request_.return_tokens || request_.settings.top_logprobs > 0 || request_.settings.token_details;
  if (delta.content.empty() && (!tells || tokens.empty())) return;
  Json json = {{"index", answer.index},
               {"content", delta.content},
               {"tokens", ids_of(tokens)},
               {"stop", false},
               {"id_slot", 0},
               {"tokens_predicted", answer.token_count},
               {"tokens_evaluated", request_.prompts[usize(answer.index)].size()}};
  if (request_.settings.top_logprobs > 0) json["completion_probabilities"] = probabilities(tokens);
  if (request_.settings.token_details) json["s3d"] = {{"tokens", origins_json(*model_, tokens)}};
  out += sse_event(json);
}

std::string NativeFormat::prompt_text(const AnswerState& answer) const {
  std::string bytes;
  for (const TokenId id : request_.prompts[usize(answer.index)]) bytes += model_->piece(id, /*special=*/true);
  return utf8_replace_broken(bytes);
}

// "eos": an end token; "word": a stop string; "limit": no more tokens were wanted, or the context is full.
std::string_view stop_type(const JobEnd& end) {
  if (!end.stop.empty()) return "word";
  if (end.reason == FinishReason::kStop) return "eos";
  return end.reason == FinishReason::kCancelled ? "none" : "limit";
}

Json NativeFormat::last(const AnswerState& answer, const std::string& content) const {
  const Figures figures = sum_of({answer}, 1);
  Json json = {{"index", answer.index},
               {"content", content},
               {"tokens", request_.return_tokens ? ids_of(answer.tokens) : Json::array()},
               {"id_slot", 0},
               {"stop", true},
               {"model", request_.model},
               {"tokens_predicted", figures.answer_tokens},
               {"tokens_evaluated", figures.timings.prompt_tokens},
               {"generation_settings", settings_json(request_.settings, request_.stream)},
               {"prompt", prompt_text(answer)},
               {"has_new_line", answer.content.find('\n') != std::string::npos},
               {"truncated", answer.end.reason == FinishReason::kContext},
               {"stop_type", stop_type(answer.end)},
               {"stopping_word", answer.end.stop},
               {"tokens_cached", figures.timings.prompt_tokens + figures.answer_tokens},
               {"timings", timings_json(figures)},
               {"metrics", {{"speculative_decoding", speculation_json(figures.spec)}}}};
  if (request_.settings.top_logprobs > 0 && !request_.stream) {
    json["completion_probabilities"] = probabilities(answer.tokens);
  }
  return json;
}

// The members that "response_fields" names, each under its whole path; one that is not there is left out.
Json NativeFormat::chosen(Json json) const {
  if (request_.response_fields.empty()) return json;
  Json all = Json::object();
  for (const std::string& path : request_.response_fields) {
    const Json* at = &json;
    for (size_t begin = 0; at != nullptr && begin <= path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      const std::string name = path.substr(begin, end - begin);
      at = at->is_object() && at->contains(name) ? &(*at)[name] : nullptr;
      begin = end + 1;
    }
    if (at != nullptr) all[path] = *at;
  }
  return all;
}

// Of several prompts a list.
Json NativeFormat::whole(const std::vector<AnswerState>& answers) {
  Json list = Json::array();
  for (const AnswerState& answer : answers) list.push_back(chosen(last(answer, answer.content)));
  return list.size() == 1 ? list[0] : list;
}

void run_native(const CallPtr& call, const std::shared_ptr<ModelService>& model, NativeRequest request) {
  auto jobs = make_jobs(*call, *model, request.settings, "prompt", request.prompts, 1);
  if (!jobs) return;
  AnswerPlan plan;
  plan.model = model;
  plan.jobs = std::move(*jobs);
  plan.stream = request.stream;
  plan.keep_tokens = !request.stream && (request.return_tokens || request.settings.top_logprobs > 0);
  plan.format = std::make_unique<NativeFormat>(model, std::move(request));
  run_answers(call, std::move(plan));
}

void answer_native_completion(const CallPtr& call, const Json& body, const RequestHead& head,
                              const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  NativeRequest request;
  read_native_common(fields, *model, request);
  request.prompts = read_native_prompts(fields, *model);
  request.model = shown_model(head.model, *model);
  if (fields.error()) return call->send_error(*fields.error());
  run_native(call, model, std::move(request));
}

FillIn read_fill_in(Fields& fields) {
  FillIn fill_in;
  fill_in.before = fields.text("input_prefix").value_or("") + fields.text("prompt").value_or("");
  fill_in.after = fields.text("input_suffix").value_or("");
  if (const Json* extra = fields.array("input_extra")) {
    for (int i = 0; i < isize(*extra); ++i) {
      Fields one((*extra)[usize(i)], fmt::format("input_extra[{}].", i));
      const auto text = one.text("text");
      if (!text) one.fail("text", "expected a text");
      fill_in.files.emplace_back(one.text("filename").value_or("file"), text.value_or(""));
      if (one.error()) fields.fail(*one.error());
    }
  }
  return fill_in;
}

void answer_infill(const CallPtr& call, const Json& body, const RequestHead& head,
                   const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  NativeRequest request;
  read_native_common(fields, *model, request);
  const FillIn fill_in = read_fill_in(fields);
  if (fields.error()) return call->send_error(*fields.error());
  auto prompt = fill_in_prompt(*model, fill_in);
  if (!prompt.ok()) return call->send_error(not_supported(prompt.error().message));
  request.prompts = {std::move(*prompt)};
  request.model = shown_model(head.model, *model);
  run_native(call, model, std::move(request));
}

}  // namespace

void handle_native_completion(const CallPtr& call) {
  answer_with_model(call, answer_native_completion);
}

void handle_infill(const CallPtr& call) {
  answer_with_model(call, answer_infill);
}

}  // namespace s3d::serve
