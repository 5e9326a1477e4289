// -m, -t, -c and their like: which model, and how it is run.
#pragma once

#include <fmt/format.h>

#include <string>

#include "cli/card_options.h"
#include "cli/console.h"
#include "engine/runtime.h"

namespace CLI {
class App;
}

namespace s3d::cli {

struct ModelOptions {
  RuntimeOptions runtime;
  std::string kv_type = "f16";
  std::string backend = "cpu";
  int gpu_memory = 0;  // MiB
  CardOptions cards;

  // `context_default`: for the help, where a command chooses another number.
  void add_to(CLI::App& command,
              const std::string& context_default = fmt::format("the model's, at most {}", Runtime::kDefaultContext));
  void add_model_to(CLI::App& command);  // only -m
  bool model_is_required = true;         // by the parser; a command with subcommands checks that itself
  bool chooses_model = false;            // where -m is not given: default_model()
  Status check();                        // and chooses the model

  void note_choice(const Console& console) const;  // says which model it is, where none was named
  // Loads it, with a progress bar. note_choice() first.
  Result<std::unique_ptr<Runtime>> load(const Console& console) const;

 private:
  std::string chosen_because_;  // default_model() chose the model
};

}  // namespace s3d::cli
