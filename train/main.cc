// s3d-train: text for training, adapters, and their acceptance (docs/training.md).
#include <dlfcn.h>
#include <fmt/format.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "engine/model_path.h"
#include "model/adapter.h"
#include "model/fingerprint.h"
#include "train/generate_data.h"
#include "train/ngrams.h"
#include "train/record_text.h"
#include "train/trainer.h"

namespace s3d::train {
namespace {

enum ExitCode : int { kExitOk = 0, kExitFailure = 1, kExitUsage = 2, kExitInterrupted = 130 };

std::atomic<bool> stop_asked = false;  // set by the signal handler: the one global that a handler cannot do without

void on_signal(int signal) {
  stop_asked = true;
  std::signal(signal, SIG_DFL);  // the second time ends the program at once
}

void log_line(const std::string& line) {
  fmt::print(stderr, "{}\n", line);
}

int fail(const Error& error) {
  fmt::print(stderr, "s3d-train: error: {}\n", error.message);
  return kExitFailure;
}

// OpenBLAS has threads of its own beside libtorch's; it is told only if it is there.
void set_threads(int threads) {
  if (threads <= 0) return;
  at::set_num_threads(threads);
  if (void* symbol = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<void (*)(int)>(symbol)(threads);
  }
}

// A step makes and drops the same large tensors again and again: by default each is a mapping of its own that the
// kernel fills with zeros, page by page.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

const std::map<std::string, torch::ScalarType> kDtypes = {{"fp32", torch::kFloat32}, {"bf16", torch::kBFloat16}};
const std::map<std::string, ggml_type> kTypes = {
    {"f32", GGML_TYPE_F32}, {"f16", GGML_TYPE_F16}, {"q8_0", GGML_TYPE_Q8_0}};

struct Shared {
  int threads = 0;
  std::string device = "cpu";
};

Status set_device(const Shared& shared, Recipe& recipe) {
  keep_freed_memory();
  set_threads(shared.threads);
  if (shared.device == "cpu") return Ok();
  if (!torch::cuda::is_available()) return Error{"--device cuda: this libtorch finds no CUDA device; use --device cpu"};
  recipe.device = torch::Device(shared.device);
  return Ok();
}

// What all forms of training and measuring read.
void add_file_options(CLI::App& command, Recipe& recipe, Shared& shared) {
  command.add_option("-m,--model", recipe.model, "the base: a GGUF file, or the name of a model in the cache")
      ->required();
  command.add_option("--data", recipe.data, "text to train on: JSONL with prompt_tokens and answer_tokens")->required();
  command.add_option("--held-out-data", recipe.held_out_data,
                     "text to measure acceptance on (default: a part of --data)");
  command.add_option("--max-length", recipe.max_length, "longer sequences are cut")->capture_default_str();
  command
      .add_option("--base-dtype", recipe.base_dtype,
                  "type of the base's matrices and matrix products: fp32, or bf16 where the machine multiplies it fast")
      ->transform(CLI::CheckedTransformer(kDtypes))
      ->default_str("fp32");
  command.add_option("--device", shared.device, "cpu, or cuda where libtorch has it")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command.add_option("--threads", shared.threads, "threads of matrix products (default: all cores)");
}

// The base stays as it is: what it knows of the text can be kept.
void add_frozen_options(CLI::App& command, Recipe& recipe) {
  command.add_option("--record-folder", recipe.record_folder, "keep the base records in files there, not in memory");
}

void add_joint_options(CLI::App& command, Recipe& recipe) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->group("Recipe");
  };
  add("--ar-weight", recipe.joint->ar_weight, "weight of the autoregressive loss beside the draft's, which has 1");
  add("--layer-rate", recipe.joint->layer_rate, "peak of the layers' learning rate");
}

void add_part_options(CLI::App& command, Recipe& recipe) {
  AdapterConfig& a = recipe.adapter;
  const auto add = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->group("Parts");
  };
  add_layers(command, "--draft-layers", a.layers,
             "first and last layers that a draft pass runs (default: a tenth and three tenths)")
      ->group("Parts");
  add("--masks", a.masks, "mask tokens: a draft pass proposes one token more");
  if (!recipe.joint) add("--lora-rank", a.lora_rank, "rank of LoRA on the kept layers; 0: none");
  add("--markov-rank", a.markov_rank, "rank of the Markov head; 0: none");
  add("--state-rank", a.state_rank, "rank of the state injection; 0: none");
  command.add_flag("--state-first-row", a.state_on_first_row, "inject the state into the last token's row too")
      ->group("Parts");
  add("--bridge-rank", a.bridge_rank, "rank of the bridge over the skipped layers; 0: none");
  command.add_flag("--confidence", a.confidence, "add a confidence head")->group("Parts");
  add("--draft-vocab", recipe.draft_vocab, "tokens that can be drafted, the most frequent of the data; 0: all");
  command.add_option("--type", recipe.type, "how matrices are stored: f32, f16 or q8_0")
      ->transform(CLI::CheckedTransformer(kTypes))
      ->default_str("q8_0")
      ->group("Parts");
}

void add_recipe_options(CLI::App& command, Recipe& recipe) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->group("Recipe");
  };
  command.add_option("--init", recipe.init, "adapter to start from: tensors of equal names and shapes are taken over")
      ->check(CLI::ExistingFile)
      ->group("Recipe");
  add("--held-out", recipe.held_out, "sequences kept apart when there is no --held-out-data (at most a tenth)");
  add("--epochs", recipe.epochs, "how often every anchor is trained");
  add("--steps", recipe.steps, "if above 0: length of the run, instead of --epochs");
  add("--sequences", recipe.groups, "sequences of a step that trains all rows");
  add("--anchors", recipe.per_group, "anchors of each sequence in a step");
  add("--learning-rate", recipe.learning_rate, "its peak");
  add("--last-rate", recipe.last_rate, "share of the peak that is left at the end of the cosine");
  add("--warmup", recipe.warmup, "steps until the peak");
  add("--depth-decay", recipe.loss.depth_decay, "row j weighs exp(-j / decay); 0: the number of masks");
  command
      .add_flag("!--all-rows", recipe.loss.sample_rows,
                "train all rows of each anchor, weighted; not the important ones more often")
      ->group("Recipe");
  add("--soft", recipe.loss.soft_share, "share of the loss that compares with the base's distribution");
  add("--soft-tokens", recipe.soft_tokens, "most probable tokens kept of it");
  add("--weight-decay", recipe.adam.weight_decay, "of AdamW");
  add("--seed", recipe.seed, "of first values, shuffling and the held-out part");
}

void add_run_options(CLI::App& command, Recipe& recipe) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->group("Run");
  };
  command.add_option("-o,--out", recipe.out, "folder of the results")->required();
  add("--report-every", recipe.report_every, "steps between measurements on held-out text");
  add("--checkpoint-every", recipe.checkpoint_every, "steps between checkpoints");
  add("--patience", recipe.patience, "measurements without a better one until the run ends early; 0: never");
  add("--max-minutes", recipe.max_minutes, "stop with a checkpoint after that time; the same call goes on; 0: never");
  command.add_flag("--restart", recipe.restart, "do not go on from the checkpoint in --out")->group("Run");
}

// One object at the end, by rank 0.
std::string report_of(const Recipe& recipe, const TrainingResult& result) {
  if (recipe.joint) return joint_report(recipe, result);
  const nlohmann::json report = {{"adapter", recipe.out + "/adapter.gguf"},
                                 {"steps", result.run.steps},
                                 {"best", result.run.best},
                                 {"stored", to_json(result.stored.acceptance)}};
  return report.dump(2) + "\n";
}

int run_training(Recipe& recipe, const Shared& shared) {
  const Status device = set_device(shared, recipe);
  if (!device.ok()) return fail(device.error());
  auto group = join_group();
  if (!group.ok()) return fail(group.error());
  recipe.stop = &stop_asked;
  if ((*group)->rank() == 0) recipe.log = log_line;
  const auto result = recipe.joint ? train_joint(recipe, **group) : train_adapter(recipe, **group);
  if (!result.ok()) return fail(result.error());
  if (!result->run.finished) {
    log_line(fmt::format("stopped after step {}; the same call goes on from there", result->run.steps));
    return kExitInterrupted;
  }
  if ((*group)->rank() == 0) fmt::print("{}", report_of(recipe, *result));
  return kExitOk;
}

int run_measure(Recipe& recipe, const Shared& shared, const std::string& adapter) {
  const Status device = set_device(shared, recipe);
  if (!device.ok()) return fail(device.error());
  recipe.log = log_line;
  const auto acceptance = measure_adapter(recipe, adapter);
  if (!acceptance.ok()) return fail(acceptance.error());
  fmt::print("{}\n", to_json(*acceptance).dump(2));
  return kExitOk;
}

int run_data(DataOptions& options) {
  set_threads(1);  // libtorch only adds up a few rows here: threads of its own would disturb the engine's
  options.log = log_line;
  options.stop = &stop_asked;
  const auto summary = generate_data(options);
  if (!summary.ok()) return fail(summary.error());
  const nlohmann::json report = {{"out", options.out},
                                 {"written", summary->written},
                                 {"there_before", summary->there},
                                 {"left_out", summary->left_out},
                                 {"generated_tokens", summary->tokens},
                                 {"seconds", summary->seconds}};
  fmt::print("{}\n", report.dump(2));
  return summary->finished ? kExitOk : kExitInterrupted;
}

void add_record_options(CLI::App& command, RecordOptions& record) {
  add_layers(command, "--record-layers", record.layers,
             "write base records: keys and values of these first and last layers, for training");
  command.add_option("--record-soft", record.soft, "most probable tokens in base records")->capture_default_str();
  command.add_flag("--record-states", record.states, "hidden states in base records too, for --state-rank");
}

void add_data_options(CLI::App& command, DataOptions& options) {
  command.add_option("-m,--model", options.model, "the target: a GGUF file, or the name of a model in the cache")
      ->required();
  command.add_option("-o,--out", options.out, "JSONL file, appended to; the same call goes on where it stopped")
      ->required();
  command.add_option("--prompts", options.prompts, "JSONL with prompt, text or turns, or text with a prompt a line")
      ->check(CLI::ExistingFile);
  command.add_option("--invent", options.invent, "prompts that the model makes itself, from its chat template");
  command.add_flag("--raw", options.raw, "prompts are text to be continued; no chat template");
  command.add_option("--chat-template", options.chat_template,
                     "family of the chat template, if the model's is unknown");
  command.add_option("--sequences", options.sequences, "answers made at once")->capture_default_str();
  command.add_option("--max-prompt", options.max_prompt, "longer prompts are left out")->capture_default_str();
  command.add_option("--max-answer", options.max_answer, "longer answers are cut")->capture_default_str();
  command.add_option("--temperature", options.temperature, "of answers; 0: greedy")->capture_default_str();
  command.add_option("--seed", options.seed, "of sampled prompts and answers")->capture_default_str();
  add_record_options(command, options.record);
  command.add_option("--threads", options.threads, "default: all cores");
}

int run_record(RecordTextOptions& options) {
  set_threads(1);
  options.log = log_line;
  options.stop = &stop_asked;
  const auto summary = record_text(options);
  if (!summary.ok()) return fail(summary.error());
  const nlohmann::json report = {{"out", options.out},
                                 {"written", summary->written},
                                 {"there_before", summary->there},
                                 {"tokens", summary->tokens},
                                 {"seconds", summary->seconds}};
  fmt::print("{}\n", report.dump(2));
  return summary->finished ? kExitOk : kExitInterrupted;
}

void add_record_text_options(CLI::App& command, RecordTextOptions& options) {
  command.add_option("-m,--model", options.model, "the target: a GGUF file, or the name of a model in the cache")
      ->required();
  command.add_option("--data", options.data, "text of s3d-train data")->required()->check(CLI::ExistingFile);
  command.add_option("-o,--out", options.out, "JSONL file, appended to; the same call goes on where it stopped")
      ->required();
  add_record_options(command, options.record);
  command.add_option("--max-length", options.max_length, "longer sequences are cut")->capture_default_str();
  command.add_option("--threads", options.threads, "default: all cores");
}

struct NgramRun {
  std::string model, adapter, out;
  std::vector<std::string> data, held_out;
  NgramOptions options;
};

// The adapter with the n-grams of the data, and how often they are right.
Result<nlohmann::json> add_ngrams(const NgramRun& run) {
  constexpr int kMax = 1 << 20;
  S3D_ASSIGN(const std::string path, find_model(run.model));
  S3D_ASSIGN(const GgufFile base, GgufFile::open(path));
  S3D_ASSIGN(const ModelConfig config, read_model_config(base));
  S3D_ASSIGN(GgufFile file, GgufFile::open(run.adapter));
  S3D_ASSIGN(const Adapter adapter,
             open_adapter(std::make_shared<const GgufFile>(std::move(file)), config, base_fingerprint(base)));
  S3D_ASSIGN(const Dataset data, read_dataset(run.data, config.vocab_size, kMax));
  const Ngrams ngrams = count_ngrams(data, run.options);
  const std::vector<std::byte> image = with_ngrams(adapter, ngrams);
  S3D_TRY(write_file_atomically(run.out, image));
  nlohmann::json report = {
      {"adapter", run.out}, {"bytes", image.size()}, {"entries", ngrams.size()}, {"tokens", data.answer_tokens()}};
  if (run.held_out.empty()) return report;
  S3D_ASSIGN(const Dataset held_out, read_dataset(run.held_out, config.vocab_size, kMax));
  report["held_out_right"] = hit_rate(held_out, ngrams);
  return report;
}

int run_ngrams(const NgramRun& run) {
  const auto report = add_ngrams(run);
  if (!report.ok()) return fail(report.error());
  fmt::print("{}\n", report->dump(2));
  return kExitOk;
}

void add_ngram_options(CLI::App& command, NgramRun& run) {
  command.add_option("-m,--model", run.model, "the target: a GGUF file, or the name of a model in the cache")
      ->required();
  command.add_option("--adapter", run.adapter, "adapter that gets the table")->required()->check(CLI::ExistingFile);
  command.add_option("--data", run.data, "text of s3d-train data")->required()->check(CLI::ExistingFile);
  command.add_option("--held-out-data", run.held_out, "text to measure on")->check(CLI::ExistingFile);
  command.add_option("-o,--out", run.out, "the new adapter; may be the same file")->required();
  command.add_option("--least", run.options.least, "times that tokens must have been followed by the same one")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  command.add_option("--most", run.options.most, "entries of the table")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 24));
}

void add_training_options(CLI::App& command, Recipe& recipe, Shared& shared) {
  add_file_options(command, recipe, shared);
  add_part_options(command, recipe);
  add_recipe_options(command, recipe);
  if (recipe.joint) {
    add_joint_options(command, recipe);
  } else {
    add_frozen_options(command, recipe);
  }
  add_run_options(command, recipe);
}

// The path of a model given by name.
int with_model(std::string& model, const std::function<int()>& run) {
  const auto path = find_model(model);
  if (!path.ok()) return fail(path.error());
  model = *path;
  return run();
}

int run(int argc, char** argv) {
  CLI::App app(
      "Trains draft adapters for s3d. Text: `s3d-train data`; training: `s3d-train adapter`, or `s3d-train joint`,\n"
      "which changes the base too.",
      "s3d-train");
  app.require_subcommand(1);
  app.set_config("--config", "", "options from a TOML file");
  Recipe recipe, joint = joint_recipe();
  Shared shared;
  DataOptions data;
  std::string adapter;
  CLI::App* data_command = app.add_subcommand("data", "make training text with the target model");
  add_data_options(*data_command, data);
  RecordTextOptions record;
  CLI::App* record_command =
      app.add_subcommand("record", "run the target over text that is there, for its base records");
  add_record_text_options(*record_command, record);
  NgramRun ngrams;
  CLI::App* ngram_command = app.add_subcommand("ngrams", "add what the target often says to an adapter");
  add_ngram_options(*ngram_command, ngrams);
  CLI::App* adapter_command = app.add_subcommand("adapter", "train an adapter; the base stays as it is");
  add_training_options(*adapter_command, recipe, shared);
  CLI::App* joint_command = app.add_subcommand(
      "joint",
      "train the kept layers together with an adapter: writes a NEW base, which says other things than the old");
  add_training_options(*joint_command, joint, shared);
  CLI::App* measure_command = app.add_subcommand("measure", "acceptance of an adapter on a text");
  add_file_options(*measure_command, recipe, shared);
  add_frozen_options(*measure_command, recipe);
  measure_command->add_option("--adapter", adapter, "the adapter's file")->required()->check(CLI::ExistingFile);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? kExitOk : kExitUsage;
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  if (data_command->parsed()) return run_data(data);
  if (record_command->parsed()) return run_record(record);
  if (ngram_command->parsed()) return run_ngrams(ngrams);
  if (measure_command->parsed()) {
    return with_model(recipe.model, [&] { return run_measure(recipe, shared, adapter); });
  }
  Recipe& chosen = joint_command->parsed() ? joint : recipe;
  return with_model(chosen.model, [&] { return run_training(chosen, shared); });
}

}  // namespace
}  // namespace s3d::train

int main(int argc, char** argv) {
  return s3d::train::run(argc, argv);
}
