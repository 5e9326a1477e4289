// s3d-train measure: how much of what an adapter drafts is accepted.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "engine/model_path.h"
#include "train/cli/machine.h"
#include "train/cli/program.h"
#include "train/cli/training_options.h"
#include "train/trainer.h"

namespace s3d::train {
namespace {

struct MeasureCommand {
  Recipe recipe;
  MachineOptions machine;
  std::string adapter;
};

Result<int> run_measure(MeasureCommand& command, const Program& program) {
  S3D_ASSIGN(command.recipe.model, find_model(command.recipe.model));
  S3D_TRY(command.machine.apply(command.recipe));
  command.recipe.log = program.log;
  S3D_ASSIGN(const Acceptance acceptance, measure_drafter(command.recipe, command.adapter));
  fmt::print("{}\n", to_json(acceptance).dump(2));
  return kExitOk;
}

}  // namespace

void add_measure(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("measure", "acceptance of an adapter on a text");
  auto options = std::make_shared<MeasureCommand>();
  add_file_options(*command, options->recipe);
  options->machine.add_to(*command);
  add_record_folder(*command, options->recipe);
  command->add_option("--adapter", options->adapter, "the adapter's file")->required()->check(CLI::ExistingFile);
  on_chosen(*command, program, [options](const Program& running) { return run_measure(*options, running); });
}

}  // namespace s3d::train
