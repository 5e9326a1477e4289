#include "train/cli/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

namespace s3d::train {
namespace {

std::atomic<bool> stop_asked = false;  // set by the signal handler: the one global that a handler cannot do without

void on_signal(int signal) {
  stop_asked = true;
  std::signal(signal, SIG_DFL);  // the second time ends the program at once
}

void log_line(const std::string& line) {
  fmt::print(stderr, "{}\n", line);
}

}  // namespace

void on_chosen(CLI::App& command, Program& program, Action action) {
  command.callback([&program, action = std::move(action)] { program.action = action; });
}

std::unique_ptr<CLI::App> make_app(Program& program) {
  auto app = std::make_unique<CLI::App>(
      "Trains drafters for s3d. Text: `s3d-train data`; training: `s3d-train adapter`, or `s3d-train joint`, which\n"
      "changes the base too; for comparison `s3d-train eagle` and `s3d-train medusa`.",
      "s3d-train");
  app->require_subcommand(1);
  app->set_config("--config", "", "options from a TOML file");
  add_data(*app, program);
  add_record(*app, program);
  add_pack(*app, program);
  add_ngrams(*app, program);
  add_average(*app, program);
  add_adapter(*app, program);
  add_joint(*app, program);
  add_eagle(*app, program);
  add_medusa(*app, program);
  add_measure(*app, program);
  return app;
}

int run_program(int argc, char** argv) {
  Program program = {.log = log_line, .stop = &stop_asked};
  const auto app = make_app(program);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app->exit(problem) == 0 ? kExitOk : kExitUsage;
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  const Result<int> code = program.action(program);
  if (code.ok()) return *code;
  fmt::print(stderr, "s3d-train: error: {}\n", code.error().message);
  return kExitFailure;
}

}  // namespace s3d::train
