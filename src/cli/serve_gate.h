// What every request passes before a route sees it: is the server ready, who asks, may this one ask once more.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/stopwatch.h"
#include "cli/api_keys.h"
#include "cli/rate_limit.h"
#include "http/server.h"

namespace s3d::cli {

struct GateOptions {
  ApiKeys keys;                   // empty: everybody may ask
  bool unknown_keys = false;      // without `keys`: those that clients send are passed on, and tell clients apart
  int per_minute = 0;             // POST requests of one address; 0: any number
  int per_client = 0;             // POST requests of one key (without keys: of one address) at a time; 0: any number
  std::string cors_origin = "*";  // of web pages that may use the server; empty: none, not even the browser is told
  std::function<bool(std::string_view path)> is_page;  // needs no key
};

// Thread rule: any thread.
class ServeGate {
 public:
  enum class Phase { kLoading, kServing, kDraining };

  // `inner`: the routes.
  ServeGate(GateOptions options, http::Handler inner)
      : options_(std::move(options)), inner_(std::move(inner)), rate_(options_.per_minute) {}
  ServeGate(const ServeGate&) = delete;
  ServeGate& operator=(const ServeGate&) = delete;

  void enter(Phase phase) { phase_ = phase; }

  // Before the body has come: a Reply refuses the request, or answers one that needs no route (OPTIONS).
  std::optional<http::Reply> on_head(const http::Request& head);
  void handle(http::Request request, std::shared_ptr<http::Responder> responder);

  // An error in the words of the interface that `path` belongs to; with what browsers must be told.
  http::Reply error_reply(int status, std::string_view message, std::string_view path = "") const;

 private:
  class Slot;
  class GateResponder;
  std::optional<http::Reply> phase_reply(const http::Request& head) const;
  std::optional<http::Reply> rate_reply(const http::Request& head);
  bool needs_key(const http::Request& head) const;
  http::Reply preflight(const http::Request& head) const;
  void add_cors(http::Headers& headers) const;
  std::string client_of(const http::Request& request) const;
  std::shared_ptr<void> take_slot(const std::string& client);  // null: it has too many requests already

  const GateOptions options_;
  const http::Handler inner_;
  RateLimit rate_;
  const Stopwatch watch_;
  std::atomic<Phase> phase_{Phase::kLoading};
  // Shared with the slots, which may outlive the gate.
  struct Counts {
    std::mutex mutex;
    std::map<std::string, int> running;  // by client
  };
  const std::shared_ptr<Counts> counts_ = std::make_shared<Counts>();
};

}  // namespace s3d::cli
