// s3d-train adapter: trains an adapter; the base stays as it is.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "train/cli/training_run.h"

namespace s3d::train {
namespace {

std::string adapter_report(const Recipe& recipe, const TrainingResult& result) {
  const nlohmann::json report = {{"adapter", recipe.out + "/adapter.gguf"},
                                 {"steps", result.run.steps},
                                 {"best", result.run.best},
                                 {"stored", to_json(result.stored.acceptance)}};
  return report.dump(2) + "\n";
}

}  // namespace

void add_adapter(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("adapter", "train an adapter; the base stays as it is");
  auto options = std::make_shared<TrainingCommand>();
  options->add_to(*command);
  on_chosen(*command, program, [options](const Program& running) {
    return run_training(*options, {train_adapter, adapter_report}, running);
  });
}

}  // namespace s3d::train
