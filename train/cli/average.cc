// s3d-train average: the mean of an adapter and of a later run of it.
#include "train/average.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "train/cli/program.h"
#include "train/cli/target.h"

namespace s3d::train {
namespace {

struct AverageCommand {
  std::string model, adapter, with, out;
  double share = 0.5;
};

Result<nlohmann::json> average(const AverageCommand& run) {
  S3D_ASSIGN(const Target target, open_target(run.model));
  S3D_ASSIGN(const Adapter first, target.open_adapter(run.adapter));
  S3D_ASSIGN(const Adapter second, target.open_adapter(run.with));
  S3D_ASSIGN(const std::vector<std::byte> image, average_adapters(first, second, run.share));
  S3D_TRY(write_file_atomically(run.out, image));
  return nlohmann::json{{"adapter", run.out}, {"bytes", image.size()}, {"share", run.share}};
}

Result<int> run_average(const AverageCommand& run) {
  S3D_ASSIGN(const nlohmann::json report, average(run));
  fmt::print("{}\n", report.dump(2));
  return kExitOk;
}

}  // namespace

void add_average(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("average", "the mean of an adapter and of a later run of it");
  auto o = std::make_shared<AverageCommand>();
  add_target_option(*command, o->model);
  command->add_option("--adapter", o->adapter, "the adapter that the run began from; its n-grams are kept")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--with", o->with, "the adapter that the run made")->required()->check(CLI::ExistingFile);
  command->add_option("--share", o->share, "of --with in the mean")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  command->add_option("-o,--out", o->out, "the new adapter; may be one of the two")->required();
  on_chosen(*command, program, [o](const Program&) { return run_average(*o); });
}

}  // namespace s3d::train
