// The base records of the whole training text: read from files, or computed once, and held across epochs in memory or
// in a file.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/base_model.h"
#include "train/base_record.h"
#include "train/dataset.h"

namespace s3d::train {

struct RecordStoreOptions {
  LayerSet layers;                            // whose keys and values are held
  RecordStates states = RecordStates::kNone;  // of which positions rms(h) is needed, h the last layer's hidden state
  int soft_targets = 0;        // also this many of the base's most probable next tokens and their probabilities
  std::string folder;          // where the file lies; empty: in memory
  int64_t tokens_at_once = 0;  // of a pass of the base; 0: on the CPU those of one sequence, on a GPU thousands
  std::function<void(int64_t done, int64_t total)> progress;  // tokens
  // Gets the hidden states before the output norm [n, d_model] of every sequence that the base is run over.
  std::function<void(const Sequence& sequence, const Tensor& hidden)> on_hidden;
};

// Stored as half floats, like the engine's default cache: on the base's device, so that a step copies nothing from the
// host, or in a file. Thread rule: const after build().
class RecordStore {
 public:
  // Runs the base over every sequence, on a GPU over many at once, or takes the file that an earlier run left for the
  // same base, data and options. Sequences with base records (base_record.h) are only read. Errors: the file cannot be
  // made or is too short; records of another base or other layers.
  static Result<RecordStore> build(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options);

  // Bytes that build() will take for each token.
  static size_t bytes_per_token(const ModelConfig& config, const RecordStoreOptions& options);

  // Gives keys and values of layer number `index` of options.layers for the first `length` positions of each sequence:
  // [sequences, length, kv_heads, head_dim] floats on the base's device. Where a sequence is shorter, its last position
  // stands again, which no row sees. The store must outlive it.
  std::function<LayerKv(int index)> context(std::span<const int> sequences, int64_t length) const;

  // rms(h) of positions t - 1 for anchors `positions` [S, A] of `sequences` [S]; zeros for t = 0: [S, A, d_model].
  Tensor state(std::span<const int> sequences, const Tensor& positions) const;

  // The base's most probable tokens after each of `positions` [S, A, R] and their probabilities: [S, A, R, k] each. A
  // position beyond the end counts as the last.
  struct SoftTargets {
    Tensor tokens, probabilities;
  };
  SoftTargets soft_targets(std::span<const int> sequences, const Tensor& positions) const;

 private:
  void allocate(const BaseModel& base, const RecordStoreOptions& options);
  Result<bool> open_file(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options);
  Status fill(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options);
  void compute(const BaseModel& base, const Dataset& data, std::span<const int> sequences,
               const RecordStoreOptions& options);
  void compute_soft(const BaseModel& base, const Tensor& hidden, const Tensor& place);
  void take(const BaseRecord& record, int index);
  int64_t tokens() const { return first_.back(); }
  Tensor token_index(std::span<const int> sequences, const Tensor& positions) const;

  torch::Device device_ = torch::kCPU;  // the base's
  torch::Device home_ = torch::kCPU;    // of the arrays: the same, or the host if they are in a file
  std::vector<int64_t> first_;          // [sequences + 1] index of the first token of each sequence
  Tensor starts_, lasts_;               // [sequences] of the first and of the last token, at home_
  Tensor kv_;                           // [layers, 2, tokens, kv_heads, head_dim] halfs
  Tensor state_;                        // [tokens, d_model] halfs, or undefined
  Tensor soft_tokens_;                  // [tokens, k] int32, or undefined
  Tensor soft_probabilities_;           // [tokens, k] halfs, or undefined
};

}  // namespace s3d::train
