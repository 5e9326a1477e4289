// What a run of `s3d-train adapter`, `joint`, `eagle` or `medusa` is told.
#pragma once

#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/stopwatch.h"
#include "model/adapter.h"
#include "train/adam.h"
#include "train/loss.h"
#include "train/record_store.h"

namespace s3d::train {

// The joint form: the matrices of the draft layers are trained too (docs/training.md).
struct JointOptions {
  double ar_weight = 1;      // of the autoregressive loss beside the draft's
  double layer_rate = 1e-4;  // learning rate of the layers, at its peak
};

// An EAGLE layer instead of an adapter (docs/drafters.md).
struct EagleOptions {
  static constexpr int kMeasuredChain = 4;  // tokens that it drafts where acceptance is measured
  static constexpr int kMaxSteps = 15;

  int steps = 1;              // in training, its own output is fed back for so many steps less one
  double feature_weight = 1;  // of the distance to the base's next state, beside the cross entropy, which has 1
};

// Medusa's heads instead of an adapter.
struct MedusaOptions {
  int heads = 4;      // head k guesses the k-th token after the next one
  int head_rank = 0;  // of a term of each head's own beside the base's LM head; 0: none
};

struct Recipe {
  // Files.
  std::string model;                       // the base, a GGUF file
  std::vector<std::string> data;           // JSONL, see dataset.h
  std::vector<std::string> held_out_data;  // JSONL to measure acceptance on; empty: some sequences of `data`
  std::string out;                         // folder of the results
  std::string init;                        // adapter file to start from; empty: a new one
  std::string record_folder;               // where the base records are held; empty: in memory

  // What is made: draft layers, ranks, parts. No layers: default_draft_layers().
  AdapterConfig adapter = {.masks = 3, .lora_rank = 32, .markov_rank = 64};
  int draft_vocab = 16384;  // 0: the whole vocabulary
  ggml_type type = GGML_TYPE_Q8_0;

  // What decides about the weights that come out.
  int max_length = 1024;  // longer sequences are cut
  int held_out = 32;      // sequences kept apart when held_out_data is empty
  double epochs = 3;
  int64_t steps = 0;   // if above 0, instead of `epochs`
  double minutes = 0;  // if above 0, instead of both: the run and what is before and after it take so long
  int groups = 4;      // sequences of a step that trains all rows; more where it trains fewer …
  int per_group = 12;  // … and anchors of each
  double learning_rate = 1e-3;
  double last_rate = 0.02;  // share of it at the end of the cosine
  int64_t warmup = 20;      // steps
  LossOptions loss;
  int soft_tokens = 16;  // of the base's distribution at each position, if loss.soft_share > 0
  AdamOptions adam;
  // At most one of them. None: an adapter, and the base stays as it is.
  std::optional<JointOptions> joint;
  std::optional<EagleOptions> eagle;
  std::optional<MedusaOptions> medusa;
  uint64_t seed = 1;
  torch::ScalarType base_dtype = torch::kFloat32;

  // How it runs.
  torch::Device device = torch::kCPU;
  int64_t report_every = 200;                   // steps between measurements of acceptance …
  double report_seconds = 0;                    // … or, if above 0, seconds
  int64_t checkpoint_every = 100;               // steps …
  double checkpoint_seconds = 0;                // … or, if above 0, seconds
  int patience = 0;                             // measurements without a better one until it stops early; 0: never
  double max_minutes = 0;                       // stop, to be resumed, after that time; 0: never
  int64_t stop_after = 0;                       // stop, to be resumed, after that many steps of the whole run; 0: never
  bool restart = false;                         // ignore a checkpoint that is there
  Stopwatch clock;                              // of this process, for `minutes`
  const std::atomic<bool>* stop = nullptr;      // stop, to be resumed, when it becomes true
  std::function<void(const std::string&)> log;  // one line at a time

  bool has_adapter() const { return !eagle && !medusa; }
  int trained_rows() const;  // of an anchor, at most
  int chain() const;         // tokens of a draft where acceptance is measured
  int anchors() const;       // of one sequence in a step, at most
};

// What `s3d-train joint` does unless it is told otherwise. A step has fewer sequences and more anchors of each than
// that of an adapter, because every sequence of it costs a full pass forwards and backwards.
Recipe joint_recipe();

// The same of `s3d-train eagle` and `medusa`. EAGLE trains whole answers, because every position of a text is run
// anyway.
Recipe eagle_recipe();
Recipe medusa_recipe();

// Where a run leaves its drafter.
std::string drafter_path(const Recipe& recipe);

// Numbers out of range, by the name of the flag.
Status check_recipe(const Recipe& recipe, const ModelConfig& base);

// Everything that decides about the resulting weights, as one line: a checkpoint of another line is not taken.
std::string settings_text(const Recipe& recipe, uint64_t base_fingerprint, uint64_t data_hash);

// What the run needs to know of the base's work: layers, states and soft targets.
RecordStoreOptions recorded(const Recipe& recipe);

// Estimates what the run will take (weights, base records, gradients, activations) and compares it with the memory
// that is free. Error: it does not fit; says what takes how much and what to change.
Status check_memory(const Recipe& recipe, const GgufFile& base, const ModelConfig& config, int64_t data_tokens,
                    int64_t held_out_tokens, int longest);

// What makes a run of this kind need less.
std::string memory_advice(const Recipe& recipe);

// Free bytes of this machine's memory, by /proc/meminfo; a very large number where that cannot be read.
size_t free_memory();

}  // namespace s3d::train
