// s3d-train joint: trains the draft layers themselves, together with an adapter.
#include <CLI/CLI.hpp>

#include "train/cli/training_run.h"

namespace s3d::train {

void add_joint(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand(
      "joint",
      "train the draft layers together with an adapter: writes a NEW base, which says other things than the old");
  auto options = std::make_shared<TrainingCommand>();
  options->recipe = joint_recipe();
  options->add_to(*command);
  on_chosen(*command, program, [options](const Program& running) {
    return run_training(*options, {train_joint, joint_report}, running);
  });
}

}  // namespace s3d::train
