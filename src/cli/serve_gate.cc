#include "cli/serve_gate.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "serve/api_error.h"

namespace s3d::cli {
namespace {

using Json = nlohmann::ordered_json;

bool is_health(std::string_view path) {
  return path == "/health" || path == "/v1/health";
}

std::string address_of(const http::Request& request) {
  return request.peer.substr(0, request.peer.rfind(':'));
}

// Keys that nobody checks do not say who asks: one client could come as many.
void drop_keys(http::Headers& headers) {
  for (const char* name : {"Authorization", "X-Api-Key", "api-key"}) {
    if (headers.find(name) != nullptr) headers.set(name, "");
  }
}

std::string error_text(int status, std::string_view message, std::string_view path) {
  if (path.starts_with("/api/")) return Json{{"error", message}}.dump();  // Ollama's
  return Json{
      {"error", {{"code", status}, {"message", message}, {"type", serve::error_type(status)}, {"param", nullptr}}}}
      .dump();
}

}  // namespace

// One running request of a client; its end makes room for another.
class ServeGate::Slot {
 public:
  Slot(std::shared_ptr<Counts> counts, std::string client) : counts_(std::move(counts)), client_(std::move(client)) {}
  ~Slot() {
    const std::lock_guard lock(counts_->mutex);
    const auto it = counts_->running.find(client_);
    if (--it->second == 0) counts_->running.erase(it);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

 private:
  std::shared_ptr<Counts> counts_;
  std::string client_;
};

// Adds what browsers must be told to every answer, and keeps the client's slot until the answer is whole: from then on
// the client may ask again.
class ServeGate::GateResponder : public http::Responder {
 public:
  GateResponder(std::shared_ptr<http::Responder> inner, std::shared_ptr<void> slot, http::Headers added)
      : inner_(std::move(inner)), slot_(std::move(slot)), added_(std::move(added)) {}

  void send(int status, http::Headers headers, std::string body) override {
    slot_.reset();
    inner_->send(status, with_added(std::move(headers)), std::move(body));
  }
  void begin(int status, http::Headers headers) override { inner_->begin(status, with_added(std::move(headers))); }
  bool write(std::string_view chunk) override { return inner_->write(chunk); }
  void end() override {
    slot_.reset();
    inner_->end();
  }
  void on_closed(std::function<void()> left) override { inner_->on_closed(std::move(left)); }
  bool closed() const override { return inner_->closed(); }
  size_t buffered() const override { return inner_->buffered(); }

 private:
  http::Headers with_added(http::Headers headers) const {
    for (const http::Header& header : added_) headers.set(header.name, header.value);
    return headers;
  }

  const std::shared_ptr<http::Responder> inner_;
  std::shared_ptr<void> slot_;
  const http::Headers added_;
};

std::optional<http::Reply> ServeGate::on_head(const http::Request& head) {
  if (head.method == "OPTIONS") return preflight(head);
  if (auto reply = phase_reply(head)) return reply;
  if (needs_key(head) && !options_.keys.find(sent_key(head.headers))) {
    http::Reply reply = error_reply(401, "Invalid API Key", head.path);
    reply.headers.add("WWW-Authenticate", "Bearer");
    return reply;
  }
  return rate_reply(head);
}

std::optional<http::Reply> ServeGate::rate_reply(const http::Request& head) {
  if (head.method != "POST") return std::nullopt;
  const auto seconds = rate_.take(address_of(head), watch_.seconds());
  if (!seconds) return std::nullopt;
  http::Reply reply = error_reply(
      429, fmt::format("Too many requests of this address: {} a minute may come", options_.per_minute), head.path);
  reply.headers.set("Retry-After", fmt::format("{:.0f}", std::ceil(*seconds)));
  return reply;
}

std::optional<http::Reply> ServeGate::phase_reply(const http::Request& head) const {
  if (phase_ == Phase::kServing) return std::nullopt;
  const bool is_page = options_.is_page && options_.is_page(head.path);
  if (phase_ == Phase::kLoading && is_page) return std::nullopt;
  // "Loading model" are the words that llama-server's clients look for.
  const bool loading = phase_ == Phase::kLoading;
  http::Reply reply = error_reply(503, loading ? "Loading model" : "The server is shutting down", head.path);
  reply.headers.set("Retry-After", loading ? "2" : "1");
  return reply;
}

bool ServeGate::needs_key(const http::Request& head) const {
  if (options_.keys.empty() || is_health(head.path)) return false;
  return !(options_.is_page && options_.is_page(head.path));
}

// What a browser asks before a page of another origin may send its request. It sends no key with that.
http::Reply ServeGate::preflight(const http::Request& head) const {
  http::Headers headers = {{"Allow", "GET, HEAD, POST, DELETE, OPTIONS"}};
  if (!options_.cors_origin.empty()) {
    headers.add("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    headers.add("Access-Control-Allow-Headers", head.headers.value_or("Access-Control-Request-Headers", "*"));
    headers.add("Access-Control-Max-Age", "86400");
  }
  add_cors(headers);
  return {204, std::move(headers), ""};
}

void ServeGate::add_cors(http::Headers& headers) const {
  if (options_.cors_origin.empty()) return;
  headers.set("Access-Control-Allow-Origin", options_.cors_origin);
  headers.set("Access-Control-Expose-Headers", "x-request-id, Retry-After");
}

http::Reply ServeGate::error_reply(int status, std::string_view message, std::string_view path) const {
  http::Reply reply{status, {{"Content-Type", "application/json; charset=utf-8"}}, error_text(status, message, path)};
  if (status == 503) reply.headers.add("Retry-After", "1");
  add_cors(reply.headers);
  return reply;
}

// The key, or where there are none the address.
std::string ServeGate::client_of(const http::Request& request) const {
  if (!options_.keys.empty()) return std::string(sent_key(request.headers));
  return address_of(request);
}

std::shared_ptr<void> ServeGate::take_slot(const std::string& client) {
  {
    const std::lock_guard lock(counts_->mutex);
    int& running = counts_->running[client];
    if (running >= options_.per_client) return nullptr;
    ++running;
  }
  return std::make_shared<Slot>(counts_, client);
}

void ServeGate::handle(http::Request request, std::shared_ptr<http::Responder> responder) {
  std::shared_ptr<void> slot;
  if (options_.per_client > 0 && request.method == "POST") {
    slot = take_slot(client_of(request));
    if (slot == nullptr) {
      http::Reply reply =
          error_reply(429, "Too many requests of this client at the same time; wait for one to end", request.path);
      reply.headers.set("Retry-After", "1");
      return responder->send(reply.status, std::move(reply.headers), std::move(reply.body));
    }
  }
  if (options_.keys.empty() && !options_.unknown_keys) drop_keys(request.headers);
  http::Headers added;
  add_cors(added);
  inner_(std::move(request), std::make_shared<GateResponder>(std::move(responder), std::move(slot), std::move(added)));
}

}  // namespace s3d::cli
