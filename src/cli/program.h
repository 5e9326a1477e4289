// The command line's frame: what all subcommands share.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/exit_code.h"
#include "base/result.h"
#include "cli/console.h"

namespace CLI {
class App;
}

namespace s3d::cli {

// What a chosen subcommand does, once the whole command line was read and checked. An error means kExitFailure.
using Action = std::function<Result<int>(Console&)>;

struct Program {
  Console console;
  ColorMode color = ColorMode::kAuto;
  bool quiet = false;
  Action action;
};

// `check` runs when `command` was chosen and the whole line was parsed: its error is a usage error. Then `action` runs.
void on_chosen(CLI::App& command, Program& program, std::function<Status()> check, Action action);

// The same for a command whose values are kept in `options`.
template <typename Options>
void on_chosen(CLI::App& command, Program& program, std::shared_ptr<Options> options,
               std::function<Status(Options&)> check, std::function<Result<int>(const Options&, Console&)> action) {
  on_chosen(
      command, program, [options, check] { return check(*options); },
      [options, action](Console& console) { return action(*options, console); });
}

// One for each subcommand; each declares its options and calls on_chosen().
void add_generate(CLI::App& app, Program& program);
void add_chat(CLI::App& app, Program& program);
void add_bench(CLI::App& app, Program& program);
void add_bench_serve(CLI::App& bench, Program& program);
void add_bench_spec(CLI::App& bench, Program& program);
void add_perplexity(CLI::App& app, Program& program);
void add_render(CLI::App& app, Program& program);
void add_tokenize(CLI::App& app, Program& program);
void add_inspect(CLI::App& app, Program& program);
void add_pull(CLI::App& app, Program& program);
void add_serve(CLI::App& app, Program& program);
void add_tune(CLI::App& app, Program& program);
void add_completion(CLI::App& app, Program& program);

// The whole option tree.
std::unique_ptr<CLI::App> make_app(Program& program);

// Parses, runs, reports. Returns the exit code.
int run_program(int argc, char** argv);

}  // namespace s3d::cli
