// s3d serve: a model for many users, over HTTP.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <optional>

#include "base/index.h"
#include "cli/access_log.h"
#include "cli/program.h"
#include "cli/serve_gate.h"
#include "cli/serve_options.h"
#include "cli/signals.h"
#include "engine/model_path.h"
#include "http/server.h"
#include "page/page.h"
#include "serve/app.h"
#include "serve/engine_models.h"
#include "serve/model_card.h"

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

// "smollm2-135m" for a name of the cache folder and for a file alike.
std::string served_name(const std::string& model) {
  const std::string file = std::filesystem::path(model).filename().string();
  return file.ends_with(".gguf") ? file.substr(0, file.size() - 5) : file;
}

// The model that -m names; with --models there need be none.
Result<std::vector<serve::ModelSource>> own_model(const ServeOptions& o) {
  std::vector<serve::ModelSource> sources;
  const std::string& model = o.model.runtime.model;
  if (model.empty()) return sources;
  serve::ModelSource source{.id = served_name(model), .aliases = o.aliases};
  S3D_ASSIGN(source.path, find_model(model));
  S3D_TRY(serve::read_model_card(source.path, source.id, {}));                // says now what is wrong with the file
  if (!source.aliases.empty()) std::swap(source.id, source.aliases.front());  // the first alias is shown
  sources.push_back(std::move(source));
  return sources;
}

Result<serve::EngineModelsOptions> models_options(const ServeOptions& o, const Console& console) {
  serve::EngineModelsOptions models;
  S3D_ASSIGN(models.sources, own_model(o));
  models.folder = o.models_folder;
  models.runtime = o.model.runtime;
  models.runtime.sequences = o.parallel;
  models.runtime.progress = console.progress_bar();
  models.service.max_waiting = o.max_queue;
  models.service.scheduler.max_running = o.parallel;
  models.service.scheduler.step_seconds = o.step_ms / 1000.0;
  models.service.scheduler.cache_bytes = usize(o.cache_mib) << 20;
  models.service.speculation = o.spec.settings;
  models.service.prompt = o.prompt;
  models.service.defaults = o.answers.defaults;
  models.keep_alive = o.keep_alive;
  models.memory_budget = int64_t{o.models_mib} << 20;
  return models;
}

int exit_code(int signal) {
  return signal == SIGINT ? kExitInterrupted : kExitOk;
}

// The server with what stands around it.
class Serving {
 public:
  Serving(const ServeOptions& options, Console& console) : options_(options), console_(console) {}

  Result<int> run();

 private:
  Status open();
  Result<std::shared_ptr<const Page>> open_page() const;
  void open_gate();
  http::ServerOptions server_options();
  Result<std::optional<int>> wait_for_model(std::future<Status>& loaded);
  void drain();

  const ServeOptions& options_;
  Console& console_;
  Signals signals_;                   // before any thread
  std::shared_ptr<const Page> page_;  // null: none is served
  std::optional<AccessLog> log_;
  std::unique_ptr<serve::ModelPool> models_;
  std::optional<serve::App> app_;
  std::optional<ServeGate> gate_;
  std::optional<http::HttpServer> server_;
};

Result<std::shared_ptr<const Page>> Serving::open_page() const {
  if (!options_.ui) return std::shared_ptr<const Page>();
  if (options_.ui_folder.empty()) return std::make_shared<const Page>(Page::built_in());
  S3D_ASSIGN(Page page, Page::from_folder(options_.ui_folder));
  return std::make_shared<const Page>(std::move(page));
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

void Serving::open_gate() {
  GateOptions gate{.keys = options_.keys,
                   .unknown_keys = options_.isolate_keys,
                   .per_minute = options_.per_minute,
                   .per_client = options_.per_client,
                   .cors_origin = options_.cors_origin};
  gate.is_page = [this](std::string_view path) { return page_ != nullptr && page_->answer(path, "").has_value(); };
  gate_.emplace(std::move(gate), [this](http::Request request, std::shared_ptr<http::Responder> responder) {
    app_->handle(std::move(request), std::move(responder));
  });
}

// All but the model, and listens.
Status Serving::open() {
  options_.model.note_choice(console_);
  S3D_ASSIGN(page_, open_page());
  S3D_ASSIGN(const serve::EngineModelsOptions models, models_options(options_, console_));
  models_ = serve::make_model_pool(models);
  raise_file_limit();
  if (!options_.no_log) log_.emplace(STDERR_FILENO);
  app_.emplace(*models_, serve::AppOptions{.version = S3D_VERSION,
                                           .any_model = options_.any_model,
                                           .isolate_keys = options_.isolate_keys,
                                           .slots = options_.slots,
                                           .metrics = options_.metrics,
                                           .ping_seconds = std::max(0.0, 1.0 * options_.ping_interval),
                                           .page = page_,
                                           .pull = serve::make_pull(*models_, cache_folder() + "/models")});
  open_gate();
  server_.emplace(server_options(), [this](http::Request request, std::shared_ptr<http::Responder> responder) {
    gate_->handle(std::move(request), std::move(responder));
  });
  S3D_TRY(server_->start());
  console_.note(fmt::format("listening on {}", server_->url()));
  return Ok();
}

Result<int> Serving::run() {
  S3D_TRY(open());
  std::future<Status> loaded = std::async(std::launch::async, [this]() -> Status {
    return options_.model.runtime.model.empty() ? Ok() : models_->load_first();
  });
  S3D_ASSIGN(std::optional<int> signal, wait_for_model(loaded));
  if (signal) std::_Exit(exit_code(*signal));  // loading cannot be called off, and has written nothing
  gate_->enter(Phase::kServing);
  console_.note(fmt::format("ready: {}", server_->url()));
  while (!signal) signal = signals_.wait(std::chrono::hours(1));
  drain();
  models_->close(milliseconds(0));  // what still runs is told so
  server_->wait_idle(milliseconds(1000));
  server_->stop();
  return exit_code(*signal);
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
