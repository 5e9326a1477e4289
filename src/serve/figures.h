// Numbers that answers carry beside their text: usage, times, what speculation did.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "serve/answer_run.h"
#include "serve/json.h"
#include "serve/model_service.h"

namespace s3d::serve {

// Counts and times of all answers to one request; a prompt that they share counts once.
struct Figures {
  Timings timings;
  SpecStats spec;
  int answer_tokens = 0;
  int thought_tokens = 0;
  int predicted_tokens = 0;
  int prompts = 1;  // different ones
};
// `answers_per_prompt`: so many answers in a row have the same prompt.
Figures sum_of(const std::vector<AnswerState>& answers, int answers_per_prompt);

Json usage_json(const Figures& figures);        // OpenAI's
Json timings_json(const Figures& figures);      // llama-server's names
Json speculation_json(const SpecStats& stats);  // vLLM's names

// OpenAI's logprobs.content: one object for each token, with its id.
Json logprobs_json(const ModelService& model, std::span<const AnswerToken> tokens);
// {"token", "logprob", "bytes"}: a token's bytes may be a part of a character; its text shows U+FFFD then.
Json token_json(const ModelService& model, TokenId id, float logprob);

// "s3d": {"tokens": …}: where each token came from.
Json origins_json(const ModelService& model, std::span<const AnswerToken> tokens);

// "stop", "length", "tool_calls"
std::string openai_reason(const AnswerState& answer);

// "data: …" and an empty line.
std::string sse_event(const Json& json);

}  // namespace s3d::serve
