// The answers to one request, from the jobs that make them to the bytes that the client gets.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/answer_reader.h"
#include "serve/call.h"
#include "serve/model_service.h"

namespace s3d::serve {

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON
};

// One answer, as far as it has come.
struct AnswerState {
  int index = 0;                    // among the answers to the request
  std::string content;              //
  std::string thought;              //
  std::vector<ToolCall> calls;      //
  std::vector<AnswerToken> tokens;  // only where AnswerPlan::keep_tokens
  std::vector<AnswerToken> prompt;  // only where Job::score_prompt
  int token_count = 0;              // that came so far
  int thought_tokens = 0;           // of them, that came with thoughts only
  int predicted_tokens = 0;         // that the request's prediction had right
  double first_token_seconds = 0;   // since the request arrived
  double last_token_seconds = 0;    //
  bool ended = false;               //
  JobEnd end;                       // once it has ended
};

// Turns answers into a dialect of JSON. All calls are one at a time. What is streamed is added to `out`, whole events
// only.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;
  virtual std::string_view stream_type() const = 0;     // Content-Type of a stream
  virtual std::string_view ping() const { return ""; }  // that the stream is still there; empty: it cannot say so
  virtual void begin(const std::vector<AnswerState>& /*answers*/, std::string& /*out*/) {}
  // `delta` and `tokens` have been added to `answer` already.
  virtual void piece(const AnswerState& answer, const AnswerDelta& delta, std::span<const AnswerToken> tokens,
                     std::string& out) = 0;
  virtual void end(const AnswerState& answer, std::string& out) = 0;
  virtual void close(const std::vector<AnswerState>& answers, std::string& out) = 0;
  virtual void failure(const ApiError& error, std::string& out) = 0;  // in the midst of a stream, the last event
  virtual Json whole(const std::vector<AnswerState>& answers) = 0;    // the body of an answer that is not streamed
};

struct AnswerPlan {
  std::shared_ptr<ModelService> model;
  std::vector<Job> jobs;                               // without their callbacks; at least one
  std::vector<std::unique_ptr<AnswerReader>> readers;  // one for each job, or none: all text is content
  std::unique_ptr<AnswerFormat> format;                //
  http::Headers headers;                               // further ones of the answer
  bool stream = false;
  bool keep_tokens = false;
};

// Submits the jobs and answers the call as they go on. A client that leaves cancels them. Errors are sent to the
// client: with their status as long as nothing was sent, as an event afterwards. Thread rule: any thread.
void run_answers(const CallPtr& call, AnswerPlan plan);

}  // namespace s3d::serve
