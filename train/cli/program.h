// The frame of s3d-train: what its subcommands share.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/exit_code.h"
#include "base/result.h"

namespace CLI {
class App;
}

namespace s3d::train {

struct Program;

// What a chosen subcommand does, once the whole command line was read. An error means kExitFailure.
using Action = std::function<Result<int>(const Program&)>;

struct Program {
  std::function<void(const std::string&)> log;  // one line at a time, for people
  const std::atomic<bool>* stop = nullptr;      // becomes true when the user wants it to end
  Action action;
};

// `action` is what the program does when `command` was chosen.
void on_chosen(CLI::App& command, Program& program, Action action);

// One for each subcommand; each declares its options and calls on_chosen().
void add_data(CLI::App& app, Program& program);
void add_record(CLI::App& app, Program& program);
void add_pack(CLI::App& app, Program& program);
void add_ngrams(CLI::App& app, Program& program);
void add_average(CLI::App& app, Program& program);
void add_adapter(CLI::App& app, Program& program);
void add_joint(CLI::App& app, Program& program);
void add_eagle(CLI::App& app, Program& program);
void add_medusa(CLI::App& app, Program& program);
void add_measure(CLI::App& app, Program& program);

// The whole option tree; `program` must outlive it.
std::unique_ptr<CLI::App> make_app(Program& program);

// Parses, runs, reports. Returns the exit code.
int run_program(int argc, char** argv);

}  // namespace s3d::train
