// s3d-train ngrams: what the target often says, added to an adapter.
#include "train/ngrams.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "model/adapter.h"
#include "train/cli/program.h"
#include "train/cli/target.h"

namespace s3d::train {
namespace {

struct NgramCommand {
  std::string model, adapter, out;
  std::vector<std::string> data, held_out;
  NgramOptions options;
};

// The adapter with the n-grams of the data, and how often they are right.
Result<nlohmann::json> add_table(const NgramCommand& run) {
  constexpr int kMaxLength = 1 << 20;
  S3D_ASSIGN(const Target target, open_target(run.model));
  S3D_ASSIGN(const Adapter adapter, target.open_adapter(run.adapter));
  S3D_ASSIGN(const Dataset data, read_dataset(run.data, target.config.vocab_size, kMaxLength));
  const Ngrams ngrams = count_ngrams(data, run.options);
  const std::vector<std::byte> image = with_ngrams(adapter, ngrams);
  S3D_TRY(write_file_atomically(run.out, image));
  nlohmann::json report = {
      {"adapter", run.out}, {"bytes", image.size()}, {"entries", ngrams.size()}, {"tokens", data.answer_tokens()}};
  if (run.held_out.empty()) return report;
  S3D_ASSIGN(const Dataset held_out, read_dataset(run.held_out, target.config.vocab_size, kMaxLength));
  report["held_out_right"] = hit_rate(held_out, ngrams);
  return report;
}

Result<int> run_ngrams(const NgramCommand& run) {
  S3D_ASSIGN(const nlohmann::json report, add_table(run));
  fmt::print("{}\n", report.dump(2));
  return kExitOk;
}

}  // namespace

void add_ngrams(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("ngrams", "add what the target often says to an adapter");
  auto o = std::make_shared<NgramCommand>();
  add_target_option(*command, o->model);
  command->add_option("--adapter", o->adapter, "adapter that gets the table")->required()->check(CLI::ExistingFile);
  command->add_option("--data", o->data, "text of s3d-train data")->required()->check(CLI::ExistingFile);
  command->add_option("--held-out-data", o->held_out, "text to measure on")->check(CLI::ExistingFile);
  command->add_option("-o,--out", o->out, "the new adapter; may be the same file")->required();
  command->add_option("--least", o->options.least, "times that tokens must have been followed by the same one")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  command->add_option("--most", o->options.most, "entries of the table")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 24));
  on_chosen(*command, program, [o](const Program&) { return run_ngrams(*o); });
}

}  // namespace s3d::train
