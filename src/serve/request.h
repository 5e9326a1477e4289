// What the routes that answer with text have in common when they read a request and plan its answers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/answer_run.h"
#include "serve/call.h"
#include "serve/settings.h"

namespace s3d::serve {

// The head of a request: read before its model is there.
struct RequestHead {
  std::string model;  // as asked for, may be empty
  KeepAlive keep_alive;
};

// Reads the body and its head, finds the model, and goes on on a thread of the work queue. Errors are sent.
using AnswerRequest = void (*)(const CallPtr& call, const Json& body, const RequestHead& head,
                               const std::shared_ptr<ModelService>& model);
void answer_with_model(const CallPtr& call, AnswerRequest answer);

// How an answer is to be delivered.
struct Delivery {
  bool stream = false;
  bool usage_chunk = false;       // stream_options.include_usage
  bool usage_everywhere = false;  // stream_options.continuous_usage_stats
  int answers = 1;                // n
};
Delivery read_delivery(Fields& fields, int max_answers);

// max_completion_tokens, or max_tokens, or `name` of another route.
std::optional<int> read_max_tokens(Fields& fields, std::string_view name, int least = 1);

// What every answer object of one request says of itself.
struct AnswerIdentity {
  std::string id;
  std::string model;  // as shown
  std::string fingerprint;
  int64_t created = 0;
};
// What completions of OpenAI's begin with: "id", "object", "created", "model", "system_fingerprint".
Json identity_json(const AnswerIdentity& identity, std::string_view object);

// Puts into a job what the call says of its sender.
void add_sender(const Call& call, Job& job);

// Jobs for `n` answers to each prompt, with what the call says of its sender. Errors, sent: a prompt that does not fit
// into the context, settings out of range, a form that cannot be had. Nothing: an error was sent.
// `param`: the field that the prompts came from.
std::optional<std::vector<Job>> make_jobs(const Call& call, const ModelService& model, const Settings& settings,
                                          const std::string& param, const std::vector<std::vector<TokenId>>& prompts,
                                          int n);

}  // namespace s3d::serve
