// s3d-train data: training text, made by the target.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "train/cli/machine.h"
#include "train/cli/program.h"
#include "train/cli/record_options.h"
#include "train/cli/target.h"
#include "train/generate_data.h"

namespace s3d::train {
namespace {

Result<int> run_data(DataOptions& options, const Program& program) {
  set_threads(1);  // libtorch only adds up a few rows here: threads of its own would disturb the engine's
  options.log = program.log;
  options.stop = program.stop;
  S3D_ASSIGN(const DataSummary summary, generate_data(options));
  const nlohmann::json report = {
      {"out", options.out},           {"written", summary.written},         {"there_before", summary.there},
      {"left_out", summary.left_out}, {"generated_tokens", summary.tokens}, {"seconds", summary.seconds}};
  fmt::print("{}\n", report.dump(2));
  return summary.finished ? kExitOk : kExitInterrupted;
}

void add_options(CLI::App& command, DataOptions& options) {
  add_target_option(command, options.model);
  command.add_option("-o,--out", options.out, "JSONL file, appended to; the same call goes on where it stopped")
      ->required();
  command.add_option("--prompts", options.prompts, "JSONL with prompt, text or turns, or text with a prompt a line")
      ->check(CLI::ExistingFile);
  command.add_option("--invent", options.invent, "prompts that the model makes itself, from its chat template");
  command.add_flag("--raw", options.raw, "prompts are text to be continued; no chat template");
  command.add_option("--chat-template", options.chat_template, "a known chat template instead of the model's own");
  command.add_option("--sequences", options.sequences, "answers made at once")->capture_default_str();
  command.add_option("--max-prompt", options.max_prompt, "longer prompts are left out")->capture_default_str();
  command.add_option("--max-answer", options.max_answer, "longer answers are cut")->capture_default_str();
  command.add_option("--temperature", options.temperature, "of answers; 0: greedy")->capture_default_str();
  command.add_option("--seed", options.seed, "of sampled prompts and answers")->capture_default_str();
  add_record_options(command, options.record);
  command.add_option("--threads", options.threads, "default: all cores");
}

}  // namespace

void add_data(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("data", "make training text with the target model");
  auto options = std::make_shared<DataOptions>();
  add_options(*command, *options);
  on_chosen(*command, program, [options](const Program& running) { return run_data(*options, running); });
}

}  // namespace s3d::train
