// s3d-train record: base records of text that is there.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "train/cli/machine.h"
#include "train/cli/program.h"
#include "train/cli/record_options.h"
#include "train/cli/target.h"
#include "train/record_text.h"

namespace s3d::train {
namespace {

Result<int> run_record(RecordTextOptions& options, const Program& program) {
  set_threads(1);  // as for `data`
  options.log = program.log;
  options.stop = program.stop;
  S3D_ASSIGN(const RecordTextSummary summary, record_text(options));
  const nlohmann::json report = {{"out", options.out},
                                 {"written", summary.written},
                                 {"there_before", summary.there},
                                 {"tokens", summary.tokens},
                                 {"seconds", summary.seconds}};
  fmt::print("{}\n", report.dump(2));
  return summary.finished ? kExitOk : kExitInterrupted;
}

}  // namespace

void add_record(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("record", "run the target over text that is there, for its base records");
  auto options = std::make_shared<RecordTextOptions>();
  add_target_option(*command, options->model);
  command->add_option("--data", options->data, "text of s3d-train data")->required()->check(CLI::ExistingFile);
  command->add_option("-o,--out", options->out, "JSONL file, appended to; the same call goes on where it stopped")
      ->required();
  add_record_options(*command, options->record);
  command->add_option("--max-length", options->max_length, "longer sequences are cut")->capture_default_str();
  command->add_option("--threads", options->threads, "default: all cores");
  on_chosen(*command, program, [options](const Program& running) { return run_record(*options, running); });
}

}  // namespace s3d::train
