// s3d tune: what drafts are worth on this machine, and which plan to train.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <array>

#include "base/index.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "cli/trainer_program.h"
#include "cli/tune_report.h"
#include "engine/prompt_file.h"
#include "tune/measure.h"
#include "tune/training_curve.h"

namespace s3d::cli {
namespace {

struct TuneCommand {
  ModelOptions model;
  PromptOptions prompt_options;
  std::string prompts;
  int limit = 8;
  int max_tokens = 48;
  std::vector<std::string> trained;
  std::vector<double> fused_rates;
  bool train = false;
  TrainPlaces train_places = {.data = "", .held_out = "", .output = ""};
  bool show = false;
  bool json = false;
  std::vector<tune::TrainedRate> trainings;  // of `trained`
};

constexpr const char* kTuneFooter =
    R"(Measures what passes cost, tries a few untrained plans and the trained drafter that is open, and predicts what every
plan gives. The result is kept in the cache folder, where drafting begins with it.

Examples:
  s3d tune -m smollm2-135m
  s3d tune -m smollm2-135m --prompts questions.jsonl --limit 20
  s3d tune -m smollm2-135m --trained 3+9=adapters/smollm2-135m.csv --train
  s3d tune -m smollm2-135m --show)";

// Where no file of prompts is named.
constexpr std::array kPrompts = {
    "Explain in a few sentences why the sky is blue.",
    "Write a Python function that returns the longest word of a text.",
    "Give me three tips for a first visit to the mountains.",
    "What is the difference between a virus and a bacterium?",
    "Write a short letter to a neighbour whose dog barks at night.",
    "A train leaves at 9:40 and arrives at 13:05. How long is the journey?",
    "Write a Python class for a bank account with deposit, withdraw and a list of all movements.",
    "Summarize: The library opens at nine. On Sundays it is closed. Children read for free, others pay two euros a "
    "year.",
};

// Masks that ride, first and second, after 160,000 anchors on smollm2-135m: what is assumed until a fused adapter of
// the model, or a training of one, says better.
constexpr std::array kUsualFused = {0.55, 0.49};

// What training added to u at each depth, where the model has no adapter: about what it did for the shipped ones of
// smollm2-135m and qwen2.5-coder-0.5b, on Spec-Bench and HumanEval.
constexpr std::array kUsualTrained = {-3.0, -7.0};

Status check_tune(TuneCommand& o) {
  S3D_TRY(o.model.check());
  S3D_TRY(o.prompt_options.check());
  if (o.limit < 0) return Error{fmt::format("--limit must be 0 (all) or more, got {}", o.limit)};
  if (o.max_tokens < 2) return Error{fmt::format("--max-tokens must be 2 or more, got {}", o.max_tokens)};
  for (const double rate : o.fused_rates) {
    if (rate < 0 || rate > 1) return Error{fmt::format("--fused-rates must be from 0 to 1, got {:g}", rate)};
  }
  const TrainPlaces& places = o.train_places;
  const bool any = !places.data.empty() || !places.held_out.empty() || !places.output.empty();
  if (any && (!o.train || places.data.empty() || places.output.empty())) {
    return Error{
        "--train trains with --train-data and --train-output, both of them; without either it prints the command"};
  }
  for (const std::string& text : o.trained) {
    auto training = tune::read_training(text);
    if (!training.ok()) return training.error().within("--trained");
    o.trainings.push_back(std::move(*training));
  }
  return Ok();
}

Result<std::vector<std::string>> questions_of(const TuneCommand& o) {
  if (o.prompts.empty()) return std::vector<std::string>(kPrompts.begin(), kPrompts.end());
  S3D_ASSIGN(const std::vector<FilePrompt> all, read_prompt_file(o.prompts));
  const size_t n = o.limit > 0 ? std::min(all.size(), usize(o.limit)) : all.size();
  std::vector<std::string> out;
  for (size_t i = 0; i < n; ++i) out.push_back(all[i * all.size() / n].turns[0]);
  return out;
}

Result<tune::Evidence> measure(const TuneCommand& o, Runtime& runtime, const Console& console) {
  S3D_ASSIGN(const std::vector<std::string> questions, questions_of(o));
  S3D_ASSIGN(const PromptMaker maker, PromptMaker::create(runtime.tokenizer(), o.prompt_options));
  tune::MeasureOptions options = {.prompts = {}, .max_tokens = o.max_tokens};
  for (const std::string& question : questions) {
    S3D_ASSIGN(std::vector<TokenId> tokens, maker.question(question));
    options.prompts.push_back(std::move(tokens));
  }
  const auto on_part = [&](const std::string& part) {
    if (console.shows_progress()) console.note(part);
    return !Interrupt::requested();
  };
  S3D_ASSIGN(tune::Evidence evidence, tune::measure_evidence(runtime, options, on_part));
  evidence.trainings = o.trainings;
  evidence.usual_trained.assign(kUsualTrained.begin(), kUsualTrained.end());
  evidence.usual_fused = o.fused_rates;
  return evidence;
}

int show_kept(const Runtime& runtime, const Console& console) {
  const FoundTuning found = read_tuning(runtime);
  if (found.tuning) {
    console.text(tuning_path(runtime) + "\n" + tuning_text(*found.tuning));
    return kExitOk;
  }
  console.error(found.stale.empty() ? fmt::format("{}: not there; s3d tune makes it", tuning_path(runtime))
                                    : "stale: " + found.stale);
  return kExitFailure;
}

// The best plan, by the trainer.
Result<int> train(const std::vector<std::string>& arguments, const Console& console) {
  console.note(fmt::format("s3d-train {}", fmt::join(arguments, " ")));
  S3D_ASSIGN(const int code, run_trainer(arguments));
  if (Interrupt::requested()) return kExitInterrupted;
  if (code != 0) return Error{fmt::format("s3d-train ended with {}", code)};
  return kExitOk;
}

Result<int> run_tune(const TuneCommand& o, Console& console) {
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded, o.model.load(console));
  Runtime& runtime = *loaded;
  if (o.show) return show_kept(runtime, console);
  const Interrupt interrupt;
  const Result<tune::Evidence> evidence = measure(o, runtime, console);
  if (Interrupt::requested()) return kExitInterrupted;
  if (!evidence.ok()) return evidence.error();
  const tune::Prediction prediction = tune::predict(*evidence);
  const std::string& model = o.model.runtime.model;
  console.text(o.json ? json_text(tune_json(runtime, model, *evidence, prediction))
                      : tune_markdown(runtime, *evidence, prediction));
  S3D_TRY(write_tuning(runtime, tuning_of(runtime, *evidence, prediction)));
  console.note("kept in " + tuning_path(runtime));
  if (!o.train) return kExitOk;
  if (!o.train_places.data.empty()) return train(train_arguments(model, prediction, o.train_places), console);
  if (!o.json) console.text(fmt::format("\ns3d-train {}\n", fmt::join(train_arguments(model, prediction), " ")));
  return kExitOk;
}

}  // namespace

void add_tune(CLI::App& app, Program& program) {
  CLI::App* command =
      app.add_subcommand("tune", "Predict what drafts are worth here, and which plan to train")->footer(kTuneFooter);
  auto o = std::make_shared<TuneCommand>();
  o->fused_rates.assign(kUsualFused.begin(), kUsualFused.end());
  o->model.add_to(*command);
  command->add_option("--prompts", o->prompts, "Texts to try drafts on, as bench spec's (default: eight of its own)")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  command->add_option("--limit", o->limit, "Only so many prompts of the file, evenly from it; 0: all (default: 8)")
      ->type_name("N");
  command->add_option("-n,--max-tokens,--predict", o->max_tokens, "Tokens of each answer (default: 48)")
      ->type_name("N");
  command
      ->add_option(
          "--trained", o->trained,
          "A+Z=FILE or fused=FILE: the table of a training with these draft layers; may be given several times")
      ->type_name("PLAN=FILE");
  command
      ->add_option("--fused-rates", o->fused_rates,
                   "How often masks that ride are right, where nothing else says it (default: 0.55,0.49)")
      ->delimiter(',')
      ->type_name("P,…");
  add_template_options(*command, o->prompt_options);
  add_system_option(*command, o->prompt_options);
  add_raw_option(*command, o->prompt_options);
  command->add_flag("--train", o->train, "Train the best plan, too, or without --train-data print the command");
  command->add_option("--train-data", o->train_places.data, "Text to train on, as s3d-train's --data")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  command->add_option("--train-held-out", o->train_places.held_out, "Text to try it on, as s3d-train's --held-out-data")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  command->add_option("--train-output", o->train_places.output, "Folder of the training, as s3d-train's -o")
      ->type_name("FOLDER");
  command->add_flag("--show", o->show, "Print what is kept of the last time, or why it does not fit; measure nothing");
  command->add_flag("--json", o->json, "One JSON object");
  on_chosen<TuneCommand>(*command, program, o, check_tune, run_tune);
}

}  // namespace s3d::cli
