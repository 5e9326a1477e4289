// One HTTP exchange on its way through a route: the request, the way to answer, and what routes share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/stopwatch.h"
#include "http/message.h"
#include "http/server.h"
#include "page/page.h"
#include "serve/api_error.h"
#include "serve/json.h"
#include "serve/model_service.h"
#include "serve/ping_timer.h"
#include "serve/statistics.h"
#include "serve/work_queue.h"

namespace s3d::serve {

// A model that can be downloaded from a hub; null where downloads are off. The whole of what routes know about it.
struct PullProgress {
  std::string status;  // for people
  std::string digest;  // empty: none yet
  uint64_t total = 0, completed = 0;
};
// Blocks until the model is there. `progress` false: stop. Error: says why it is not there.
using PullModel =
    std::function<Status(const std::string& name, const std::function<bool(const PullProgress&)>& progress)>;

struct AppOptions {
  std::string version = "0.0.0";     // of this program
  bool any_model = true;             // with one model only: other names in requests are answered by it too
  bool isolate_keys = false;         // API keys share nothing of the prefix cache
  bool slots = true;                 // GET /slots and GET /metrics answer
  bool metrics = true;               //
  int max_answers = 16;              // "n" of a request at most
  int retry_after_seconds = 2;       // told to clients when the queue is full
  double ping_seconds = 30;          // a stream of events says after so long that it is still there; 0: never
  std::shared_ptr<const Page> page;  // null: browsers get what programs get
  PullModel pull;                    // empty: POST /api/pull answers 501
};

// What all routes of a server share. Thread rule: any thread.
struct Services {
  const AppOptions& options;
  ModelDirectory& models;
  Statistics& statistics;
  WorkQueue& work;
  WorkQueue& downloads;  // these take minutes
  PingTimer& pings;
};

// Shared by the parts of an answer that live on several threads.
struct Call {
  const Services& services;
  http::Request request;
  std::shared_ptr<http::Responder> responder;
  Dialect dialect = Dialect::kOpenAi;
  std::string parameter;  // what stands in the path for "{id}"
  Stopwatch watch;        // since it arrived

  void send_json(const Json& body, int status = 200) const;
  void send_text(std::string body, std::string type = "text/plain; charset=utf-8", int status = 200) const;
  void send_error(const ApiError& error) const;
  std::string key() const;  // the API key that the client sent, or empty
};
using CallPtr = std::shared_ptr<Call>;

// The JSON object in the body; an error was sent if there is none. An absent body is {}.
std::optional<Json> read_body(const Call& call);

// Finds the model of that name, loads it if need be, and goes on with it on a thread of the work queue. Errors are
// sent.
using WithModel = std::function<void(const std::shared_ptr<ModelService>& model)>;
void with_model(const CallPtr& call, const std::string& name, KeepAlive keep_alive, WithModel go_on);

// The name that the answer shows as its model: that of the request, if one is there.
std::string shown_model(const std::string& asked, const ModelService& model);

// Seconds since 1970.
int64_t now_seconds();
// "chatcmpl-4k2f…": `prefix` and random letters.
std::string new_id(std::string_view prefix);

}  // namespace s3d::serve
