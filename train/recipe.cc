#include "train/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "model/drafter_file.h"
#include "model/fingerprint.h"
#include "train/record_store.h"
#include "train/trained_layers.h"

namespace s3d::train {
namespace {

Status in_range(const char* flag, double value, double min, double max) {
  if (value >= min && value <= max) return Ok();
  return Error{fmt::format("{} is {}, expected {} to {}", flag, value, min, max)};
}

double gigabytes(double bytes) {
  return bytes / 1e9;
}

// Numbers that autograd keeps for each row and layer: about twelve of model width, six of feed-forward width and the
// attention weights three times.
double layer_numbers(const ModelConfig& config, int longest) {
  return 12.0 * config.d_model + 6.0 * config.d_ff + 3.0 * config.n_heads * longest;
}

// Of the draft rows of one step, or of `groups` sequences of it. Logits are there four times.
double draft_bytes(const Recipe& r, const ModelConfig& config, int groups, int longest) {
  const double drafted = r.draft_vocab > 0 ? r.draft_vocab : config.vocab_size;
  const double layers = r.eagle ? 1 : r.medusa ? 0 : r.adapter.layers.count();
  // EAGLE goes sequence by sequence.
  const double anchors = r.eagle ? longest : static_cast<double>(groups) * r.per_group;
  return 4 * anchors * r.trained_rows() * (layers * layer_numbers(config, longest) + 4 * drafted);
}

// Joint steps go sequence by sequence: the draft rows of one, and its full pass.
double step_bytes(const Recipe& r, const ModelConfig& config, int longest) {
  if (!r.joint) return draft_bytes(r, config, r.groups, longest);
  return draft_bytes(r, config, 1, longest) +
         4.0 * longest * (config.n_layers * layer_numbers(config, longest) + 4.0 * config.vocab_size);
}

// A fused draft runs in a full pass: with all layers, without a gap or a state of the row whose token it follows.
Status check_fused(const Recipe& r, const ModelConfig& base) {
  const AdapterConfig& a = r.adapter;
  if (!a.fused) return Ok();
  S3D_TRY(in_range("--fused: the number of --draft-layers", a.layers.count(), base.n_layers, base.n_layers));
  S3D_TRY(in_range("--fused: --masks", a.masks, 1, AdapterConfig::kMaxMasks));
  S3D_TRY(in_range("--fused: --state-rank", a.state_rank, 0, 0));
  return in_range("--fused: --bridge-rank", a.bridge_rank, 0, 0);
}

Status check_adapter(const Recipe& r, const ModelConfig& base) {
  const AdapterConfig& a = r.adapter;
  S3D_TRY(in_range("the number of --draft-layers", a.layers.count(), 1, base.n_layers));
  S3D_TRY(in_range("--masks", a.masks, 0, AdapterConfig::kMaxMasks));
  S3D_TRY(in_range("--lora-rank", a.lora_rank, 0, base.d_model));
  S3D_TRY(in_range("--markov-rank", a.markov_rank, 0, base.d_model));
  S3D_TRY(in_range("--state-rank", a.state_rank, 0, base.d_model));
  S3D_TRY(in_range("--bridge-rank", a.bridge_rank, 0, base.d_model));
  return check_fused(r, base);
}

Status check_parts(const Recipe& r, const ModelConfig& base) {
  if (r.eagle) {
    S3D_TRY(in_range("--eagle-steps", r.eagle->steps, 1, EagleOptions::kMaxSteps));
    return in_range("--feature-weight", r.eagle->feature_weight, 0, 1e6);
  }
  if (r.medusa) {
    S3D_TRY(in_range("--heads", r.medusa->heads, 1, MedusaFile::kMaxHeads));
    return in_range("--head-rank", r.medusa->head_rank, 0, base.d_model);
  }
  return check_adapter(r, base);
}

}  // namespace

RecordStoreOptions recorded(const Recipe& r) {
  const bool answer = r.medusa || r.adapter.state_rank > 0;
  return {.layers = r.adapter.layers,
          .states = r.eagle  ? RecordStates::kAll
                    : answer ? RecordStates::kAnswer
                             : RecordStates::kNone,
          .soft_targets = r.loss.soft_share > 0 ? r.soft_tokens : 0};
}

std::string memory_advice(const Recipe& r) {
  if (r.joint) return "run fewer layers (--draft-layers), cut sequences (--max-length) or take fewer --anchors";
  return "hold the base records on disk (--record-folder), train on less text, or make steps smaller (--sequences)";
}

Recipe joint_recipe() {
  Recipe recipe;
  recipe.adapter.lora_rank = 0;  // the layers themselves are trained
  recipe.groups = 2;
  recipe.per_group = 32;
  recipe.loss.sample_rows = false;  // rows are cheap beside the full pass, and fewer of them would mean more passes
  recipe.joint = JointOptions{};
  return recipe;
}

Recipe eagle_recipe() {
  Recipe recipe;
  recipe.adapter = {};
  recipe.groups = 2;
  recipe.loss.soft_share = 0.5;
  recipe.eagle = EagleOptions{};
  return recipe;
}

Recipe medusa_recipe() {
  Recipe recipe;
  recipe.adapter = {};
  recipe.per_group = 48;
  recipe.loss.soft_share = 0.5;
  recipe.medusa = MedusaOptions{};
  return recipe;
}

int Recipe::trained_rows() const {
  return eagle ? eagle->steps : medusa ? medusa->heads : adapter.depth();
}

int Recipe::chain() const {
  return eagle ? EagleOptions::kMeasuredChain : trained_rows();
}

int Recipe::anchors() const {
  return eagle ? max_length : per_group;
}

std::string drafter_path(const Recipe& recipe) {
  return recipe.out + (recipe.eagle ? "/eagle.gguf" : recipe.medusa ? "/medusa.gguf" : "/adapter.gguf");
}

Status check_recipe(const Recipe& r, const ModelConfig& base) {
  S3D_TRY(check_parts(r, base));
  S3D_TRY(in_range("--draft-vocab", r.draft_vocab, 0, base.vocab_size));
  S3D_TRY(in_range("--max-length", r.max_length, 4, base.context_length));
  S3D_TRY(in_range("--held-out", r.held_out, r.held_out_data.empty() ? 1 : 0, 1e6));
  S3D_TRY(in_range("--epochs", r.epochs, 1e-6, 1e6));
  S3D_TRY(in_range("--steps", static_cast<double>(r.steps), 0, 1e12));
  S3D_TRY(in_range("--minutes", r.minutes, 0, 1e6));
  S3D_TRY(in_range("--sequences", r.groups, 1, 65536));
  S3D_TRY(in_range("--anchors", r.per_group, 1, 65536));
  S3D_TRY(in_range("--learning-rate", r.learning_rate, r.joint ? 1e-12 : 0, 10));
  S3D_TRY(in_range("--last-rate", r.last_rate, 0, 1));
  S3D_TRY(in_range("--warmup", static_cast<double>(r.warmup), 0, 1e12));
  S3D_TRY(in_range("--depth-decay", r.loss.depth_decay, 0, 1e6));
  S3D_TRY(in_range("--soft", r.loss.soft_share, 0, 1));
  S3D_TRY(in_range("--soft-tokens", r.soft_tokens, 1, base.vocab_size));
  S3D_TRY(in_range("--weight-decay", r.adam.weight_decay, 0, 10));
  if (r.joint) {
    S3D_TRY(in_range("--ar-weight", r.joint->ar_weight, 0, 1e6));
    S3D_TRY(in_range("--layer-rate", r.joint->layer_rate, 0, 10));
  }
  S3D_TRY(in_range("--report-seconds", r.report_seconds, 0, 1e9));
  S3D_TRY(in_range("--checkpoint-seconds", r.checkpoint_seconds, 0, 1e9));
  S3D_TRY(in_range("--report-every", static_cast<double>(r.report_every), 1, 1e12));
  return in_range("--checkpoint-every", static_cast<double>(r.checkpoint_every), 1, 1e12);
}

std::string settings_text(const Recipe& r, uint64_t base_fingerprint, uint64_t data_hash) {
  const AdapterConfig& a = r.adapter;
  std::string text = fmt::format(
      "base {} {} data {:016x} max-length {} held-out {} layers {}+{} masks {} lora {} markov {} state {}{} bridge {} "
      "confidence {} draft-vocab {} epochs {} steps {} batch {}x{} rate {} last {} warmup {} depth-decay {}{} soft "
      "{}/{} "
      "adam {} {} {} decay {} clip {} seed {} init {}",
      fingerprint_text(base_fingerprint), toString(r.base_dtype), data_hash, r.max_length, r.held_out, a.layers.first,
      a.layers.last, a.masks, a.lora_rank, a.markov_rank, a.state_rank, a.state_on_first_row ? " first row" : "",
      a.bridge_rank, a.confidence, r.draft_vocab, r.epochs, r.steps, r.groups, r.per_group, r.learning_rate,
      r.last_rate, r.warmup, r.loss.depth_decay, r.loss.sample_rows ? " sampled" : "", r.loss.soft_share, r.soft_tokens,
      r.adam.beta1, r.adam.beta2, r.adam.epsilon, r.adam.weight_decay, r.adam.clip, r.seed,
      r.init.empty() ? "new" : r.init);
  if (r.minutes > 0) text += fmt::format(" minutes {}", r.minutes);
  if (a.fused) text += " fused";
  if (r.eagle) text += fmt::format(" eagle steps {} feature-weight {}", r.eagle->steps, r.eagle->feature_weight);
  if (r.medusa) text += fmt::format(" medusa heads {} rank {}", r.medusa->heads, r.medusa->head_rank);
  if (r.joint) text += fmt::format(" joint ar-weight {} layer-rate {}", r.joint->ar_weight, r.joint->layer_rate);
  return text;
}

size_t free_memory() {
  std::ifstream in("/proc/meminfo");
  std::string key, unit;
  for (size_t kib = 0; in >> key >> kib >> unit;) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return std::numeric_limits<size_t>::max();
}

Status check_memory(const Recipe& r, const GgufFile& base, const ModelConfig& config, int64_t data_tokens,
                    int64_t held_out_tokens, int longest) {
  double weights = 0;
  for (const s3d::Tensor& tensor : base.tensors()) {
    weights += static_cast<double>(tensor.rows() * tensor.cols()) * (r.base_dtype == torch::kFloat32 ? 4 : 2);
  }
  const AdapterConfig& a = r.adapter;
  RecordStoreOptions store = recorded(r);
  if (r.joint) store.soft_targets = 0;
  // Joint training has no records of the text that it trains on: the base changes with every step.
  const auto recorded_tokens = static_cast<double>(held_out_tokens + (r.joint ? 0 : data_tokens));
  const double records =
      r.record_folder.empty() ? recorded_tokens * static_cast<double>(RecordStore::bytes_per_token(config, store)) : 0;
  // A checkpoint that is read has master and moments once more.
  const double layers =
      r.joint ? 4.0 * (TrainedLayers::kNumbers + 3) * static_cast<double>(trained_numbers(config, a)) : 0;
  const double step = step_bytes(r, config, longest);
  const double needed = weights + layers + records + step, free = static_cast<double>(free_memory());
  if (r.device != torch::kCPU || needed < free) return Ok();
  return Error{fmt::format(
      "the run needs about {:.1f} GB of memory and {:.1f} GB are free: weights {:.1f}, trained layers {:.1f}, base "
      "records {:.1f}, one step {:.1f}; {}",
      gigabytes(needed), gigabytes(free), gigabytes(weights), gigabytes(layers), gigabytes(records), gigabytes(step),
      memory_advice(r))};
}

}  // namespace s3d::train
