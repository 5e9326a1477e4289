#include "serve/app.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace s3d::serve {
namespace {

constexpr int kWorkers = 2;  // reading requests is little beside the passes of a model, which want the other cores
constexpr size_t kMaxWaiting = 1024;  // requests that nobody has read yet
constexpr size_t kMaxDownloads = 8;
constexpr std::string_view kParameter = "{id}";

using enum Dialect;
constexpr std::array kRoutes = std::to_array<Route>({
    {"POST", "/v1/chat/completions", kOpenAi, handle_chat_completions},
    {"POST", "/chat/completions", kOpenAi, handle_chat_completions},
    {"POST", "/v1/completions", kOpenAi, handle_completions},
    {"POST", "/v1/responses", kOpenAi, handle_responses},
    {"POST", "/responses", kOpenAi, handle_responses},
    {"POST", "/v1/embeddings", kOpenAi, handle_embeddings},
    {"GET", "/v1/models", kOpenAi, handle_models},
    {"GET", "/models", kOpenAi, handle_models},
    {"GET", "/v1/models/{id}", kOpenAi, handle_model},
    {"GET", "/models/{id}", kOpenAi, handle_model},

    {"POST", "/completion", kNative, handle_native_completion},
    {"POST", "/completions", kNative, handle_native_completion},
    {"POST", "/infill", kNative, handle_infill},
    {"POST", "/tokenize", kNative, handle_tokenize},
    {"POST", "/detokenize", kNative, handle_detokenize},
    {"POST", "/apply-template", kNative, handle_apply_template},
    {"POST", "/embedding", kNative, handle_embeddings},
    {"POST", "/embeddings", kNative, handle_embeddings},
    {"GET", "/props", kNative, handle_props},
    {"GET", "/slots", kNative, handle_slots},
    {"GET", "/health", kNative, handle_health, true},
    {"GET", "/v1/health", kNative, handle_health, true},
    {"GET", "/metrics", kNative, handle_metrics},

    {"POST", "/api/chat", kOllama, handle_ollama_chat},
    {"POST", "/api/generate", kOllama, handle_ollama_generate},
    {"GET", "/api/tags", kOllama, handle_ollama_tags},
    {"POST", "/api/show", kOllama, handle_ollama_show},
    {"GET", "/api/ps", kOllama, handle_ollama_ps},
    {"GET", "/api/version", kOllama, handle_ollama_version, true},
    {"POST", "/api/pull", kOllama, handle_ollama_pull},
    {"POST", "/api/embed", kOllama, handle_embeddings},
    {"POST", "/api/embeddings", kOllama, handle_embeddings},
    {"POST", "/api/push", kOllama, handle_ollama_unavailable},
    {"POST", "/api/create", kOllama, handle_ollama_unavailable},
    {"POST", "/api/copy", kOllama, handle_ollama_unavailable},
    {"DELETE", "/api/delete", kOllama, handle_ollama_unavailable},
    {"POST", "/api/blobs/{id}", kOllama, handle_ollama_unavailable},
    {"GET", "/", kOllama, handle_ollama_root, true},
});

// What stands in `path` for the parameter of `pattern`; nothing: they do not fit.
std::optional<std::string> match(std::string_view pattern, std::string_view path) {
  const size_t at = pattern.find(kParameter);
  if (at == std::string_view::npos) return pattern == path ? std::optional(std::string()) : std::nullopt;
  if (!path.starts_with(pattern.substr(0, at)) || path.size() == at) return {};
  return std::string(path.substr(at));
}

// The dialect of a path that no route has.
Dialect dialect_of(std::string_view path) {
  if (path.starts_with("/api/")) return kOllama;
  return path.starts_with("/v1/") ? kOpenAi : kNative;
}

struct Found {
  const Route* route = nullptr;
  std::string parameter;
  std::string allowed;  // methods of the path, where none is that of the request
};

Found find_route(std::string_view method, std::string_view path) {
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  Found found;
  for (const Route& route : kRoutes) {
    std::optional<std::string> parameter = match(route.path, path);
    if (!parameter) continue;
    if (route.method == wanted) return {&route, std::move(*parameter), ""};
    found.allowed += (found.allowed.empty() ? "" : ", ") + std::string(route.method);
  }
  return found;
}

// A file of the page, if the path is one.
bool send_page_file(const Call& call) {
  const auto& page = call.services.options.page;
  const http::Request& request = call.request;
  if (page == nullptr || (request.method != "GET" && request.method != "HEAD")) return false;
  std::optional<http::Reply> reply = page->answer(request.path, request.headers.value_or("If-None-Match", ""));
  if (reply) call.responder->send(reply->status, std::move(reply->headers), std::move(reply->body));
  return reply.has_value();
}

}  // namespace

std::span<const Route> routes() {
  return kRoutes;
}

App::App(ModelDirectory& models, AppOptions options)
    : options_(std::move(options)),
      work_(kWorkers, kMaxWaiting),
      downloads_(1, kMaxDownloads),
      pings_(options_.ping_seconds),
      services_{options_, models, statistics_, work_, downloads_, pings_} {}

void App::handle(http::Request request, std::shared_ptr<http::Responder> responder) {
  Found found = find_route(request.method, request.path);
  const Dialect dialect = found.route != nullptr ? found.route->dialect : dialect_of(request.path);
  const auto call = std::make_shared<Call>(
      Call{services_, std::move(request), std::move(responder), dialect, std::move(found.parameter), {}});
  if (found.route == nullptr) {
    const std::string& path = call->request.path;
    if (send_page_file(*call)) return;
    if (found.allowed.empty()) {
      return call->send_error({.status = 404, .message = fmt::format("no such route: {}", path), .code = "not_found"});
    }
    return call->send_error({.status = 405,
                             .message = fmt::format("{} takes {}, not {}", path, found.allowed, call->request.method),
                             .code = "method_not_allowed"});
  }
  const RouteHandler handler = found.route->handler;
  if (found.route->quick) return handler(call);
  const bool taken = work_.post([call, handler] {
    if (!call->responder->closed()) handler(call);
  });
  if (!taken) {
    call->send_error(
        {.status = 503, .message = "too many requests wait already; try again later", .code = "overloaded"});
  }
}

}  // namespace s3d::serve
