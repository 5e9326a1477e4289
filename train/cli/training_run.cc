#include "train/cli/training_run.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "engine/model_path.h"
#include "train/cli/training_options.h"

namespace s3d::train {

void TrainingCommand::add_to(CLI::App& command) {
  add_file_options(command, recipe);
  machine.add_to(command);
  add_training_options(command, recipe);
}

std::string drafter_report(const Recipe& recipe, const TrainingResult& result) {
  const CurvePoint last = result.run.curve.empty() ? CurvePoint{} : result.run.curve.back();
  const nlohmann::json report = {
      {"adapter", drafter_path(recipe)},
      {"device", recipe.device.str()},
      {"steps", result.run.steps},
      {"anchors", last.anchors},
      {"seconds", last.seconds},
      {"anchors_per_second", last.seconds > 0 ? static_cast<double>(last.anchors) / last.seconds : 0},
      {"best", result.run.best},
      {"stored", to_json(result.stored.acceptance)}};
  return report.dump(2) + "\n";
}

Result<int> run_training(TrainingCommand& command, const TrainingForm& form, const Program& program) {
  Recipe& recipe = command.recipe;
  S3D_ASSIGN(recipe.model, find_model(recipe.model));
  S3D_TRY(command.machine.apply(recipe));
  S3D_ASSIGN(const auto group, join_group());
  const bool first = group->rank() == 0;
  recipe.stop = program.stop;
  if (first) recipe.log = program.log;
  S3D_ASSIGN(const TrainingResult result, form.train(recipe, *group));
  if (!result.run.finished) {
    program.log(fmt::format("stopped after step {}; the same call goes on from there", result.run.steps));
    return kExitInterrupted;
  }
  if (first) fmt::print("{}", form.report(recipe, result));
  return kExitOk;
}

}  // namespace s3d::train
