#include "serve/call.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <optional>
#include <random>
#include <utility>

namespace s3d::serve {
namespace {

http::Headers headers_of(const ApiError& error, int retry_after_seconds) {
  http::Headers headers{{"Content-Type", "application/json; charset=utf-8"}};
  if (error.status == 503 || error.status == 429) headers.add("Retry-After", fmt::format("{}", retry_after_seconds));
  // OpenAI's clients repeat a request after any 5xx. One that broke something here would break it again.
  if (error.status == 500 || error.status == 501) headers.add("x-should-retry", "false");
  return headers;
}

// The entry that a request means. Nothing: there is no such model.
std::optional<ModelEntry> entry_for(const Call& call, const std::string& name) {
  const ModelDirectory& models = call.services.models;
  if (std::optional<ModelEntry> entry = models.find(name)) return entry;
  // Ollama's clients download a model that is not there: they must be told.
  if (!call.services.options.any_model || call.dialect == Dialect::kOllama) return {};
  std::vector<ModelEntry> all = models.list();
  return all.size() == 1 ? std::optional(std::move(all.front())) : std::nullopt;
}

}  // namespace

void Call::send_json(const Json& body, int status) const {
  send_text(to_text(body), "application/json; charset=utf-8", status);
}

void Call::send_text(std::string body, std::string type, int status) const {
  responder->send(status, {{"Content-Type", std::move(type)}}, std::move(body));
}

void Call::send_error(const ApiError& error) const {
  if (error.status == 503) services.statistics.count_refused();
  responder->send(error.status, headers_of(error, services.options.retry_after_seconds),
                  to_text(error_body(error, dialect)));
}

std::string Call::key() const {
  if (const std::string* value = request.headers.find("Authorization")) {
    constexpr std::string_view kBearer = "Bearer ";
    return value->starts_with(kBearer) ? value->substr(kBearer.size()) : *value;
  }
  for (const std::string_view name : {"X-Api-Key", "api-key"}) {
    if (const std::string* value = request.headers.find(name)) return *value;
  }
  return "";
}

std::optional<Json> read_body(const Call& call) {
  if (call.request.body.empty()) return Json::object();
  Result<Json> json = parse_json(call.request.body);
  if (!json.ok()) {
    call.send_error(bad_request("", "the body: " + json.error().message));
    return {};
  }
  if (!json->is_object()) {
    call.send_error(bad_request("", "the body: expected a JSON object"));
    return {};
  }
  return std::move(*json);
}

void with_model(const CallPtr& call, const std::string& name, KeepAlive keep_alive, WithModel go_on) {
  const std::optional<ModelEntry> entry = entry_for(*call, name);
  if (!entry) return call->send_error(model_not_found(name));
  const auto opened = [call, go_on = std::move(go_on)](Result<std::shared_ptr<ModelService>> model) {
    if (!model.ok()) {
      return call->send_error({.status = 503, .message = model.error().message, .code = "model_not_loaded"});
    }
    call->services.work.post_anyway([call, go_on, model = std::move(*model)] {
      if (!call->responder->closed()) go_on(model);
    });
  };
  call->services.models.open(entry->card.id, keep_alive, opened);
}

std::string shown_model(const std::string& asked, const ModelService& model) {
  return asked.empty() ? model.card().id : asked;
}

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string new_id(std::string_view prefix) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr int kLength = 24;
  std::random_device device;
  std::string id(prefix);
  for (int i = 0; i < kLength; ++i) id += kLetters[device() % kLetters.size()];
  return id;
}

}  // namespace s3d::serve
