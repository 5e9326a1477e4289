// What all forms of training share when they run.
#pragma once

#include <functional>
#include <string>

#include "train/cli/machine.h"
#include "train/cli/program.h"
#include "train/trainer.h"

namespace s3d::train {

struct TrainingCommand {
  Recipe recipe;
  MachineOptions machine;

  void add_to(CLI::App& command);
};

// One form of training.
struct TrainingForm {
  Result<TrainingResult> (*train)(Recipe recipe, Group& group);
  std::string (*report)(const Recipe& recipe, const TrainingResult& result);  // JSON, printed at the end
};

// Of a drafter whose base stays as it is: its file, steps, and what the file was measured at.
std::string drafter_report(const Recipe& recipe, const TrainingResult& result);

// Joins the group that the environment names, trains, and prints the report on rank 0. Returns the exit code.
Result<int> run_training(TrainingCommand& command, const TrainingForm& form, const Program& program);

}  // namespace s3d::train
