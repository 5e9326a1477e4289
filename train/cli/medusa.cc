// s3d-train medusa: trains a drafter of that kind; the base stays as it is.
#include <CLI/CLI.hpp>

#include "train/cli/training_run.h"

namespace s3d::train {

void add_medusa(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("medusa", "train Medusa's heads, for comparison; the base stays as it is");
  auto options = std::make_shared<TrainingCommand>();
  options->recipe = medusa_recipe();
  options->add_to(*command);
  on_chosen(*command, program, [options](const Program& running) {
    return run_training(*options, {train_drafter, drafter_report}, running);
  });
}

}  // namespace s3d::train
