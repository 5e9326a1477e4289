#include "serve/figures.h"

#include <algorithm>
#include <cmath>

#include "base/index.h"
#include "text/utf8.h"

namespace s3d::serve {
namespace {

constexpr float kLeastLogprob = -9999;  // JSON has no infinity; OpenAI's number for it

double milliseconds(double seconds) {
  return seconds * 1e3;
}

double per(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

// llama-server's addition to OpenAI's members.
Json with_id(TokenId id, Json token) {
  token["id"] = id;
  return token;
}

}  // namespace

Figures sum_of(const std::vector<AnswerState>& answers, int answers_per_prompt) {
  Figures sum;
  sum.prompts = isize(answers) / std::max(answers_per_prompt, 1);
  for (int i = 0; i < isize(answers); ++i) {
    const JobEnd& end = answers[i].end;
    if (i % answers_per_prompt == 0) {
      sum.timings.prompt_tokens += end.timings.prompt_tokens;
      sum.timings.cached_tokens += end.timings.cached_tokens;
      sum.timings.prefill_seconds += end.timings.prefill_seconds;
    }
    sum.timings.decoded_tokens += end.timings.decoded_tokens;
    sum.timings.decode_seconds = std::max(sum.timings.decode_seconds, end.timings.decode_seconds);  // side by side
    sum.spec.add(end.spec);
    sum.answer_tokens += end.answer_tokens;
    sum.thought_tokens += answers[i].thought_tokens;
    sum.predicted_tokens += answers[i].predicted_tokens;
  }
  return sum;
}

Json usage_json(const Figures& f) {
  return {{"prompt_tokens", f.timings.prompt_tokens},
          {"completion_tokens", f.answer_tokens},
          {"total_tokens", f.timings.prompt_tokens + f.answer_tokens},
          {"prompt_tokens_details", {{"cached_tokens", f.timings.cached_tokens}}},
          {"completion_tokens_details",
           {{"reasoning_tokens", f.thought_tokens},
            {"accepted_prediction_tokens", f.predicted_tokens},
            {"rejected_prediction_tokens", 0}}}};
}

Json timings_json(const Figures& f) {
  const Timings& t = f.timings;
  const int prompt = t.prompt_tokens - t.cached_tokens;
  Json json = {{"cache_n", t.cached_tokens},
               {"prompt_n", prompt},
               {"prompt_ms", milliseconds(t.prefill_seconds)},
               {"prompt_per_token_ms", per(milliseconds(t.prefill_seconds), prompt)},
               {"prompt_per_second", per(prompt, t.prefill_seconds)},
               {"predicted_n", f.answer_tokens},
               {"predicted_ms", milliseconds(t.decode_seconds)},
               {"predicted_per_token_ms", per(milliseconds(t.decode_seconds), t.decoded_tokens)},
               {"predicted_per_second", per(t.decoded_tokens, t.decode_seconds)}};
  if (f.spec.num_draft_tokens > 0) {
    json["draft_n"] = f.spec.num_draft_tokens;
    json["draft_n_accepted"] = f.spec.num_accepted_tokens;
  }
  return json;
}

Json speculation_json(const SpecStats& s) {
  return {{"num_spec_steps", s.num_drafts},
          {"num_draft_tokens", s.num_draft_tokens},
          {"num_accepted_draft_tokens", s.num_accepted_tokens},
          {"mean_acceptance_length", s.mean_acceptance_length()},
          {"draft_acceptance_rate", s.draft_acceptance_rate()},
          {"acceptance_histogram", s.acceptance_histogram}};
}

Json token_json(const ModelService& model, TokenId id, float logprob) {
  const std::string bytes = model.piece(id, /*special=*/true);
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return {{"token", utf8_replace_broken(bytes)},
          {"logprob", std::isfinite(logprob) ? logprob : kLeastLogprob},
          {"bytes", std::move(list)}};
}

Json logprobs_json(const ModelService& model, std::span<const AnswerToken> tokens) {
  Json content = Json::array();
  for (const AnswerToken& token : tokens) {
    Json json = with_id(token.id, token_json(model, token.id, token.logprob));
    json["top_logprobs"] = Json::array();
    for (const Alternative& other : token.top)
      json["top_logprobs"].push_back(with_id(other.id, token_json(model, other.id, other.logprob)));
    content.push_back(std::move(json));
  }
  return content;
}

Json origins_json(const ModelService& model, std::span<const AnswerToken> tokens) {
  Json list = Json::array();
  for (const AnswerToken& token : tokens) {
    Json json = {{"id", token.id},
                 {"text", utf8_replace_broken(model.piece(token.id, /*special=*/false))},
                 {"drafted", token.drafted},
                 {"source", token.source.empty() ? std::string("target") : std::string(token.source)}};
    if (token.drafted) {
      json["depth"] = token.depth;
      json["probability"] = token.probability;
    }
    list.push_back(std::move(json));
  }
  return list;
}

std::string openai_reason(const AnswerState& answer) {
  const bool cut = answer.end.reason == FinishReason::kLength || answer.end.reason == FinishReason::kContext;
  if (cut) return "length";
  return answer.calls.empty() ? "stop" : "tool_calls";
}

std::string sse_event(const Json& json) {
  return "data: " + to_text(json) + "\n\n";
}

}  // namespace s3d::serve
