// s3d serve: a model for many users, over HTTP.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <future>
#include <optional>

#include "cli/access_log.h"
#include "cli/program.h"
#include "cli/serve_gate.h"
#include "cli/serve_options.h"
#include "cli/signals.h"
#include "http/server.h"
#include "page/page.h"

namespace s3d::cli {
namespace {

using std::chrono::milliseconds;
using Phase = ServeGate::Phase;

constexpr const char* kServeFooter =
    R"(The server listens at once and says 503 until the model is loaded. SIGTERM or Ctrl-C ends it: running answers get
--drain-seconds; a second one ends it at once.
Environment: LLAMA_ARG_MODEL, LLAMA_ARG_CTX_SIZE, LLAMA_ARG_PORT, LLAMA_API_KEY and others of llama-server.

Examples:
  s3d serve -m smollm2-135m
  s3d serve -m model.gguf --port 9000 -c 16384 -np 4
  s3d serve -m model.gguf --host 0.0.0.0 --api-key-file keys.txt
  s3d serve -m model.gguf --ollama
  curl http://127.0.0.1:8080/v1/chat/completions -d '{"messages": [{"role": "user", "content": "Hello"}]}')";

// Each connection is an open file; many systems allow 1024 unless one asks.
void raise_file_limit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 1 << 16);
  setrlimit(RLIMIT_NOFILE, &files);
}

// Ollama's clients look for its own words at "/"; a browser says that it takes HTML.
bool wants_page(const http::Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return false;
  return request.path != "/" || request.headers.value_or("Accept", "").find("text/html") != std::string::npos;
}

// The server with what stands around it.
class Serving {
 public:
  Serving(const ServeOptions& options, Console& console) : options_(options), console_(console) {}

  Result<int> run();

 private:
  Status open_page();
  http::ServerOptions server_options();
  Result<std::optional<int>> wait_for_model(std::future<Status>& loaded);
  void drain();
  void route(http::Request request, std::shared_ptr<http::Responder> responder);

  const ServeOptions& options_;
  Console& console_;
  Signals signals_;  // before any thread
  std::optional<Page> page_;
  std::optional<AccessLog> log_;
  std::unique_ptr<Runtime> runtime_;
  std::optional<ServeGate> gate_;
  std::optional<http::HttpServer> server_;
};

Status Serving::open_page() {
  if (!options_.ui) return Ok();
  if (options_.ui_folder.empty()) {
    page_ = Page::built_in();
    return Ok();
  }
  S3D_ASSIGN(page_, Page::from_folder(options_.ui_folder));
  return Ok();
}

http::ServerOptions Serving::server_options() {
  http::ServerOptions http;
  http.host = options_.host;
  http.port = options_.port;
  http.max_connections = options_.max_connections;
  http.answer_timeout = std::chrono::seconds(options_.timeout);
  http.on_head = [this](const http::Request& head) { return gate_->on_head(head); };
  http.error_reply = [this](int status, std::string_view message) { return gate_->error_reply(status, message); };
  if (log_) http.on_finished = [this](const http::Finished& finished) { log_->add(finished); };
  return http;
}

void Serving::route(http::Request request, std::shared_ptr<http::Responder> responder) {
  if (request.path == "/health" || request.path == "/v1/health") {
    return responder->send(200, {{"Content-Type", "application/json; charset=utf-8"}}, R"({"status":"ok"})");
  }
  if (page_ && wants_page(request)) {
    if (auto reply = page_->answer(request.path, request.headers.value_or("If-None-Match", ""))) {
      return responder->send(reply->status, std::move(reply->headers), std::move(reply->body));
    }
  }
  http::Reply reply = gate_->error_reply(404, "no such route", request.path);
  responder->send(reply.status, std::move(reply.headers), std::move(reply.body));
}

// Until the model is there, or a signal came: then its number.
Result<std::optional<int>> Serving::wait_for_model(std::future<Status>& loaded) {
  while (loaded.wait_for(milliseconds(0)) != std::future_status::ready) {
    if (const auto signal = signals_.wait(milliseconds(50))) return signal;
  }
  S3D_TRY(loaded.get());
  return std::optional<int>();
}

// Running answers get their time, unless a second signal comes.
void Serving::drain() {
  gate_->enter(Phase::kDraining);
  server_->drain();
  if (server_->running() > 0) console_.note(fmt::format("ending; waiting for {} answers", server_->running()));
  for (int tenths = options_.drain_seconds * 10; tenths > 0 && server_->running() > 0; --tenths) {
    if (signals_.wait(milliseconds(100))) break;
  }
}

Result<int> Serving::run() {
  S3D_TRY(open_page());
  raise_file_limit();
  if (!options_.no_log) log_.emplace(STDERR_FILENO);
  GateOptions gate{.keys = options_.keys, .per_client = options_.per_client, .cors_origin = options_.cors_origin};
  gate.is_page = [this](std::string_view path) { return page_ && page_->answer(path, "").has_value(); };
  gate_.emplace(std::move(gate), [this](http::Request request, std::shared_ptr<http::Responder> responder) {
    route(std::move(request), std::move(responder));
  });
  server_.emplace(server_options(), [this](http::Request request, std::shared_ptr<http::Responder> responder) {
    gate_->handle(std::move(request), std::move(responder));
  });
  S3D_TRY(server_->start());
  console_.note(fmt::format("listening on {}", server_->url()));

  std::future<Status> loaded = std::async(std::launch::async, [this]() -> Status {
    S3D_ASSIGN(runtime_, options_.model.load(console_));
    return Ok();
  });
  S3D_ASSIGN(std::optional<int> signal, wait_for_model(loaded));
  if (signal) std::_Exit(kExitInterrupted);  // loading cannot be called off, and has written nothing
  gate_->enter(Phase::kServing);
  console_.note(fmt::format("ready: {}", server_->url()));
  while (!signal) signal = signals_.wait(std::chrono::hours(1));
  drain();
  server_->stop();
  return *signal == SIGINT ? kExitInterrupted : kExitOk;
}

Result<int> run_serve(const ServeOptions& o, Console& console) {
  return Serving(o, console).run();
}

}  // namespace

void add_serve(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("serve", "Serve a model over HTTP")->footer(kServeFooter);
  auto o = std::make_shared<ServeOptions>();
  o->add_to(*command);
  on_chosen<ServeOptions>(
      *command, program, o, [command](ServeOptions& options) { return options.check(*command); }, run_serve);
}

}  // namespace s3d::cli
