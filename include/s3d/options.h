// What the engine can be told. Every field has a default that suits most callers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "s3d/result.h"
#include "s3d/types.h"

namespace s3d {

// How a token is chosen from the logits. Names and defaults as llama.cpp's and vLLM's users know them. The order of the
// steps: bias, penalties, then (temperature 0: argmax) top-k, top-p, min-p on the probabilities at temperature 1,
// temperature, draw. Each filter looks at the probabilities of what the one before it left, scaled to sum to one.
struct SamplerOptions {
  float temperature = 0.0F;         // 0 = greedy
  int top_k = 0;                    // 0 = off
  float top_p = 1.0F;               // 1 = off
  float min_p = 0.0F;               // 0 = off
  float repetition_penalty = 1.0F;  // 1 = off; divides positive and multiplies negative logits of tokens seen
  float presence_penalty = 0.0F;    // subtracted once from tokens seen
  float frequency_penalty = 0.0F;   // subtracted for every time that a token was seen
  int penalty_last_n = 64;          // how many of the last tokens count as seen; -1 = all, 0 = off
  std::vector<std::pair<TokenId, float>> logit_bias = {};  // token, added value; -inf forbids the token
  uint64_t seed = 0;                                       // the same seed gives the same text

  Status check(int vocab_size) const;  // ranges; the message names the setting, the range and the value
};

// The first `first` and the last `last` layers of a model, in order; those between them are skipped.
struct LayerSet {
  int first = 0;
  int last = 0;

  static LayerSet all(int n_layers) { return {n_layers, 0}; }
  int count() const { return first + last; }
  // The layer of the model that is the set's layer number `index`, 0 <= index < count().
  int layer(int index, int n_layers) const { return index < first ? index : n_layers - count() + index; }
  bool has(int layer, int n_layers) const { return layer < first || layer >= n_layers - last; }
  friend bool operator==(const LayerSet&, const LayerSet&) = default;
};

// "3+9": the first 3 and the last 9 layers. Error: anything else, or no layer at all.
Result<LayerSet> parse_layer_set(const std::string& text);

// Who drafts. It changes the speed of an answer, never its text.
struct SpeculationOptions {
  // "off"; "auto": the planner takes what pays, drafts or none; or a drafter: "s3d", "fused", "eagle", "medusa",
  // "s3d-untrained", "layerskip", "lookup", "suffix", "model". "s3d=FILE": of several files the one that is called so.
  std::string drafter = "auto";
  int draft_rows = 0;              // tokens drafted and verified each round, 1 to kMaxDraft; 0: the planner chooses
  int draft_width = 1;             // alternatives for each position of a draft by a pass; 1: a chain, more: a tree
  std::optional<LayerSet> layers;  // kept by "layerskip" and "s3d-untrained"; absent: a tenth and three tenths
  std::string draft_model;         // file or name of the model of "model"

  Status check() const;  // errors name the option and what it may be
  friend bool operator==(const SpeculationOptions&, const SpeculationOptions&) = default;
};

// One answer.
struct GenerateOptions {
  int max_tokens = 256;                  // -1 = until the context is full
  std::vector<std::string> stop = {};    // text that ends the answer and is no part of it; special tokens too
  SamplerOptions sampler = {};           //
  SpeculationOptions speculation = {};   // drafts by default, like the program
  std::function<bool()> cancelled = {};  // asked before every pass; true ends the answer
};

// Progress of loading, in bytes of the file; called from the loading thread.
using LoadProgress = std::function<void(size_t done, size_t total)>;

// A model and how it is run.
struct EngineOptions {
  std::string model;            // path of a GGUF file, or the name of a model in the cache folder
  int threads = 0;              // 0 = all cores that the process may use
  int context = 0;              // positions of one sequence; 0 = the model's own, at most 8192
  int sequences = 1;            // the KV cache has room for this many sequences of `context` positions
  std::string kv_type = "f16";  // how keys and values are stored: f16, f32, q8_0
  std::string backend = "cpu";  // what computes: cpu, reference (double precision, very slow, for checking)
  std::string adapter = "";     // file of the draft adapter; "": the one that is found for the model; "none"
  std::vector<std::string> draft_files = {};  // of drafters (adapters, EAGLE, Medusa); empty: those that are found
  LoadProgress progress = nullptr;
};

}  // namespace s3d
