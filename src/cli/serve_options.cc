#include "cli/serve_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/environment.h"

namespace s3d::cli {
namespace {

constexpr int kPort = 8080;
constexpr int kOllamaPort = 11434;

// llama-server's variables. The command line goes before them.
struct Variable {
  const char* name;
  const char* option;
};
constexpr Variable kVariables[] = {
    {"LLAMA_ARG_MODEL", "--model"},
    {"LLAMA_ARG_CTX_SIZE", "--ctx-size"},
    {"LLAMA_ARG_THREADS", "--threads"},
    {"LLAMA_ARG_BATCH", "--batch"},
    {"LLAMA_ARG_HOST", "--host"},
    {"LLAMA_ARG_PORT", "--port"},
    {"LLAMA_ARG_TIMEOUT", "--timeout"},
    {"LLAMA_ARG_SSE_PING_INTERVAL", "--sse-ping-interval"},
    {"LLAMA_ARG_ALIAS", "--alias"},
    {"LLAMA_ARG_N_PARALLEL", "--parallel"},
    {"LLAMA_ARG_CACHE_RAM", "--cache-ram"},
    {"LLAMA_ARG_ENDPOINT_METRICS", "--metrics"},
    {"LLAMA_ARG_ENDPOINT_SLOTS", "--slots"},
    {"LLAMA_ARG_MODELS_DIR", "--models"},
    {"LLAMA_ARG_N_PREDICT", "--predict"},
    {"LLAMA_ARG_TEMP", "--temp"},
    {"LLAMA_ARG_TOP_K", "--top-k"},
    {"LLAMA_ARG_TOP_P", "--top-p"},
    {"LLAMA_ARG_MIN_P", "--min-p"},
    {"LLAMA_ARG_REPEAT_PENALTY", "--repeat-penalty"},
    {"LLAMA_ARG_REPEAT_LAST_N", "--repeat-last-n"},
    {"LLAMA_ARG_PRESENCE_PENALTY", "--presence-penalty"},
    {"LLAMA_ARG_FREQUENCY_PENALTY", "--frequency-penalty"},
    {"LLAMA_ARG_SEED", "--seed"},
    {"LLAMA_ARG_STATIC_PATH", "--ui-path"},
    {"LLAMA_API_KEY", "--api-key"},
};

Status take_environment(CLI::App& command) {
  for (const Variable& variable : kVariables) {
    CLI::Option* option = command.get_option(variable.option);
    const std::string value = environment(variable.name);
    if (option->count() > 0 || value.empty()) continue;
    try {
      option->add_result(value);
      option->run_callback();
    } catch (const CLI::ParseError&) {
      return Error{fmt::format("the environment variable {} cannot stand for {}: got '{}'", variable.name,
                               variable.option, visible(value))};
    }
  }
  return Ok();
}

}  // namespace

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::vector<std::string> with_long_names(std::vector<std::string> words) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"-np", "--parallel"}, {"-to", "--timeout"}, {"-cram", "--cache-ram"}};
  for (std::string& word : words) {
    if (word == "--") break;
    for (const auto& [name, long_name] : kNames) {
      if (word == name) word = long_name;
    }
  }
  return words;
}

void ServeOptions::add_network_to(CLI::App& command) {
  const std::string group = "Network";
  command.add_option("--host", host, "Address to listen on")->type_name("ADDRESS")->capture_default_str()->group(group);
  command.add_option("--port", port, fmt::format("Port to listen on; 0: any free one (default: {})", kPort))
      ->type_name("N")
      ->group(group);
  command.add_flag("--ollama", ollama, fmt::format("Listen on Ollama's port, {}", kOllamaPort))->group(group);
  command.add_option("--max-connections", max_connections, "Connections at a time, idle ones too")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command.add_option("--timeout", timeout, "Seconds without a byte of an answer before it is given up; 0: never (-to)")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--sse-ping-interval", ping_interval,
                  "Seconds after which a stream says that it is still there; -1: never")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command.add_option("--cors-origin", cors_origin, "Web pages that may use the server: an origin, * for all, or none")
      ->type_name("ORIGIN")
      ->capture_default_str()
      ->group(group);
}

void ServeOptions::add_access_to(CLI::App& command) {
  const std::string group = "Access";
  command.add_option("--api-key", key_lists, "A key that clients must send, or several with commas; may be repeated")
      ->type_name("KEY")
      ->allow_extra_args(false)
      ->group(group);
  command.add_option("--api-key-file", key_file, "File with such keys, one a line; # begins a comment")
      ->type_name("FILE")
      ->group(group);
  command.add_flag("--no-auth", no_auth, "Listen on an address that others reach, without keys")->group(group);
  command.add_flag("--isolate-keys", isolate_keys, "Clients with different keys share nothing of the prefix cache")
      ->group(group);
  command
      .add_option("--per-client", per_client,
                  "Requests of one key (without keys: of one address) at a time; 0: any number")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command.add_option("--per-minute", per_minute, "Requests of one address in a minute; beyond, 429; 0: any number")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
}

void ServeOptions::add_load_to(CLI::App& command) {
  const std::string group = "Load";
  command.add_option("--parallel", parallel, "Answers that are made at a time (-np)")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-queue", max_queue, "Requests that may wait; beyond, 503")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--step-ms", step_ms,
                  "Milliseconds that one pass may take while others wait for their next token: long prompts are cut")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command.add_option("--cache-ram", cache_mib, "MiB that prompts are kept in for later requests; 0: none (-cram)")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command.add_option("--drain-seconds", drain_seconds, "Seconds that running answers get when the server is to end")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
}

void ServeOptions::add_pages_to(CLI::App& command) {
  const std::string group = "What is served";
  command.add_option("--models,--models-dir", models_folder, "Folder of further models, loaded when one asks for them")
      ->type_name("DIR")
      ->group(group);
  command.add_option("--keep-alive", keep_alive, "Seconds that such a model stays loaded when nobody uses it")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command.add_option("--models-ram", models_mib, "MiB of all loaded models; 0: no limit")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("-a,--alias", aliases, "Another name for the model, or several with commas; the first one is shown")
      ->type_name("NAME")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(group);
  command
      .add_flag("--any-model,!--no-any-model", any_model,
                "Answer whatever model a request names (default: on); off: 404 for unknown names")
      ->group(group);
  command.add_flag("--metrics,!--no-metrics", metrics, "GET /metrics for Prometheus (default: on)")->group(group);
  command.add_flag("--slots,!--no-slots", slots, "GET /slots, what runs now (default: on)")->group(group);
  command.add_flag("!--no-ui,!--no-webui", ui, "No page for browsers")->group(group);
  command.add_option("--ui-path,--path", ui_folder, "Folder with the page's files, instead of those built in")
      ->type_name("DIR")
      ->group(group);
  command.add_flag("--log-disable", no_log, "No line on stderr for each request")->group(group);
}

void ServeOptions::add_to(CLI::App& command) {
  model.model_is_required = false;
  model.chooses_model = true;
  model.add_to(command);
  add_network_to(command);
  add_access_to(command);
  add_load_to(command);
  add_pages_to(command);
  add_template_options(command, prompt);
  answers.add_to(command);
  spec.add_to(command);
}

Status ServeOptions::check_numbers() const {
  struct Number {
    const char* option;
    int value, least, most;
  };
  const Number numbers[] = {{"--port", port, 0, 65535},
                            {"--max-connections", max_connections, 1, 100'000},
                            {"--timeout", timeout, 0, 1'000'000},
                            {"--sse-ping-interval", ping_interval, -1, 1'000'000},
                            {"--per-client", per_client, 0, 1'000'000},
                            {"--per-minute", per_minute, 0, 1'000'000},
                            {"--parallel", parallel, 1, 256},
                            {"--max-queue", max_queue, 0, 1'000'000},
                            {"--step-ms", step_ms, 1, 60'000},
                            {"--cache-ram", cache_mib, 0, 1 << 30},
                            {"--keep-alive", keep_alive, 0, 1 << 30},
                            {"--models-ram", models_mib, 0, 1 << 30},
                            {"--drain-seconds", drain_seconds, 0, 1'000'000}};
  for (const Number& n : numbers) {
    if (n.value >= n.least && n.value <= n.most) continue;
    return Error{fmt::format("{} must be from {} to {}, got {}", n.option, n.least, n.most, n.value)};
  }
  return Ok();
}

Status ServeOptions::check(CLI::App& command) {
  S3D_TRY(take_environment(command));
  if (command.get_option("--port")->count() == 0) port = ollama ? kOllamaPort : kPort;
  S3D_TRY(check_numbers());
  S3D_ASSIGN(keys, ApiKeys::read(key_lists, key_file));
  if (keys.empty() && !no_auth && !is_loopback(host)) {
    return Error{fmt::format("--host {} lets other machines use the server: set a key with --api-key, or say --no-auth",
                             visible(host))};
  }
  if (cors_origin == "none") cors_origin.clear();
  model.chooses_model = models_folder.empty();  // with a folder of models, there need be no model of its own
  S3D_TRY(model.check());
  S3D_TRY(answers.check());
  return spec.check();
}

}  // namespace s3d::cli
