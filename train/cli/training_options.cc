#include "train/cli/training_options.h"

#include <CLI/CLI.hpp>
#include <map>

#include "train/cli/record_options.h"

namespace s3d::train {
namespace {

constexpr const char* kParts = "Parts";
constexpr const char* kRecipe = "Recipe";
constexpr const char* kRun = "Run";

// add(name, value, help) with the default shown and the option in `group`.
auto adder(CLI::App& command, const char* group) {
  return [&command, group](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->group(group);
  };
}

void add_adapter_parts(CLI::App& command, Recipe& recipe) {
  AdapterConfig& a = recipe.adapter;
  const auto add = adder(command, kParts);
  add_layers(command, "--draft-layers", a.layers,
             "first and last layers that a draft pass runs (default: a tenth and three tenths)")
      ->group(kParts);
  add("--masks", a.masks, "mask tokens: a draft pass proposes one token more");
  if (!recipe.joint) {
    command.add_flag("--fused", a.fused, "masks that ride in full passes, with all layers: no draft pass")
        ->group(kParts);
  }
  if (!recipe.joint) add("--lora-rank", a.lora_rank, "rank of LoRA on the draft layers; 0: none");
  add("--markov-rank", a.markov_rank, "rank of the Markov head; 0: none");
  add("--state-rank", a.state_rank, "rank of the state injection; 0: none");
  command.add_flag("--state-first-row", a.state_on_first_row, "inject the state into the last token's row too")
      ->group(kParts);
  add("--bridge-rank", a.bridge_rank, "rank of the bridge over the skipped layers; 0: none");
  command.add_flag("--confidence", a.confidence, "add a confidence head")->group(kParts);
}

void add_eagle_parts(CLI::App& command, EagleOptions& eagle) {
  const auto add = adder(command, kParts);
  add("--eagle-steps", eagle.steps, "depths that are trained: the layer's own output is fed back one time less");
  add("--feature-weight", eagle.feature_weight, "of the distance to the base's next state; the cross entropy has 1");
}

void add_medusa_parts(CLI::App& command, MedusaOptions& medusa) {
  const auto add = adder(command, kParts);
  add("--heads", medusa.heads, "heads: tokens that are guessed after the next one");
  add("--head-rank", medusa.head_rank, "rank of each head's own term beside the LM head; 0: none");
}

void add_parts(CLI::App& command, Recipe& recipe) {
  std::map<std::string, ggml_type> types = {{"f32", GGML_TYPE_F32}, {"f16", GGML_TYPE_F16}, {"q8_0", GGML_TYPE_Q8_0}};
  if (recipe.eagle) add_eagle_parts(command, *recipe.eagle);
  if (recipe.medusa) add_medusa_parts(command, *recipe.medusa);
  if (recipe.has_adapter()) {
    add_adapter_parts(command, recipe);
  } else {
    types.insert({{"q4_0", GGML_TYPE_Q4_0}, {"q4_1", GGML_TYPE_Q4_1}});
  }
  const auto add = adder(command, kParts);
  add("--draft-vocab", recipe.draft_vocab, "tokens that can be drafted, the most frequent of the data; 0: all");
  command
      .add_option("--type", recipe.type,
                  recipe.has_adapter() ? "how matrices are stored: f32, f16 or q8_0"
                                       : "how matrices are stored: f32, f16, q8_0, q4_0 or q4_1")
      ->transform(CLI::CheckedTransformer(types))
      ->default_str("q8_0")
      ->group(kParts);
}

void add_recipe(CLI::App& command, Recipe& recipe) {
  const auto add = adder(command, kRecipe);
  command.add_option("--init", recipe.init, "file to start from: tensors of equal names and shapes are taken over")
      ->check(CLI::ExistingFile)
      ->group(kRecipe);
  add("--held-out", recipe.held_out, "sequences set apart when there is no --held-out-data (at most a tenth)");
  add("--epochs", recipe.epochs, "how often every anchor is trained");
  add("--steps", recipe.steps, "if above 0: length of the run, instead of --epochs");
  add("--minutes", recipe.minutes,
      "if above 0, instead of --epochs and --steps: the whole run takes so long, and the learning rate follows the "
      "clock");
  add("--sequences", recipe.groups, "sequences of a step that trains all rows");
  if (!recipe.eagle) add("--anchors", recipe.per_group, "anchors of each sequence in a step");
  add("--learning-rate", recipe.learning_rate, "its peak");
  add("--last-rate", recipe.last_rate, "share of the peak that is left at the end of the cosine");
  add("--warmup", recipe.warmup, "steps until the peak");
  add("--depth-decay", recipe.loss.depth_decay, "row j weighs exp(-j / decay); 0: the number of the last row");
  command
      .add_flag("!--all-rows", recipe.loss.sample_rows,
                "train all rows of each anchor, weighted; not the important ones more often")
      ->group(kRecipe);
  add("--soft", recipe.loss.soft_share, "share of the loss that compares with the base's distribution");
  add("--soft-tokens", recipe.soft_tokens, "most probable tokens of it that are compared");
  add("--weight-decay", recipe.adam.weight_decay, "of AdamW");
  add("--seed", recipe.seed, "of first values, shuffling and the held-out part");
}

void add_joint_recipe(CLI::App& command, JointOptions& joint) {
  const auto add = adder(command, kRecipe);
  add("--ar-weight", joint.ar_weight, "weight of the autoregressive loss beside the draft's, which has 1");
  add("--layer-rate", joint.layer_rate, "peak of the layers' learning rate");
}

void add_run(CLI::App& command, Recipe& recipe) {
  const auto add = adder(command, kRun);
  command.add_option("-o,--out", recipe.out, "folder of the results")->required();
  add("--report-every", recipe.report_every, "steps between measurements on held-out text");
  add("--report-seconds", recipe.report_seconds, "if above 0, instead of --report-every");
  add("--checkpoint-every", recipe.checkpoint_every, "steps between checkpoints");
  add("--checkpoint-seconds", recipe.checkpoint_seconds, "if above 0, instead of --checkpoint-every");
  add("--patience", recipe.patience, "measurements without a better one until the run ends early; 0: never");
  add("--max-minutes", recipe.max_minutes, "stop with a checkpoint after that time; the same call goes on; 0: never");
  command.add_flag("--restart", recipe.restart, "do not go on from the checkpoint in --out")->group(kRun);
}

}  // namespace

void add_file_options(CLI::App& command, Recipe& recipe) {
  const std::map<std::string, torch::ScalarType> dtypes = {{"fp32", torch::kFloat32}, {"bf16", torch::kBFloat16}};
  command.add_option("-m,--model", recipe.model, "the base: a GGUF file, or the name of a model in the cache")
      ->required();
  command.add_option("--data", recipe.data, "text to train on: JSONL with prompt_tokens and answer_tokens")->required();
  command.add_option("--held-out-data", recipe.held_out_data,
                     "text to measure acceptance on (default: a part of --data)");
  command.add_option("--max-length", recipe.max_length, "longer sequences are cut")->capture_default_str();
  command
      .add_option("--base-dtype", recipe.base_dtype,
                  "type of the base's matrices and matrix products: fp32, or bf16 where the machine multiplies it fast")
      ->transform(CLI::CheckedTransformer(dtypes))
      ->default_str("fp32");
}

void add_record_folder(CLI::App& command, Recipe& recipe) {
  command.add_option("--record-folder", recipe.record_folder, "hold the base records in files there, not in memory");
}

void add_training_options(CLI::App& command, Recipe& recipe) {
  add_parts(command, recipe);
  add_recipe(command, recipe);
  if (recipe.joint) {
    add_joint_recipe(command, *recipe.joint);
  } else {
    add_record_folder(command, recipe);
  }
  add_run(command, recipe);
}

}  // namespace s3d::train
