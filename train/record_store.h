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
  int soft_targets = 0;  // also this many of the base's most probable next tokens and their probabilities
  std::string folder;    // where the file lies; empty: in memory
  std::function<void(int64_t done, int64_t total)> progress;  // tokens
  // Gets the hidden states before the output norm [n, d_model] of every sequence that the base is run over.
  std::function<void(const Sequence& sequence, const Tensor& hidden)> on_hidden;
};

// Stored as half floats, like the engine's default cache. Thread rule: const after build().
class RecordStore {
 public:
  // Runs the base over every sequence, or takes the file that an earlier run left for the same base, data and options.
  // Sequences with base records (base_record.h) are only read. Errors: the file cannot be
  // made or is too short; records of another base or other layers.
  static Result<RecordStore> build(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options);

  // Bytes that build() will take for each token.
  static size_t bytes_per_token(const ModelConfig& config, const RecordStoreOptions& options);

  // Keys and values of layer number `index` of options.layers for the first `length` positions of each sequence, zeros
  // where it is shorter: [sequences, length, kv_heads, head_dim] floats on the base's device.
  LayerKv kv(int index, std::span<const int> sequences, int64_t length) const;

  // rms(h) of positions t - 1 for anchors `positions` [S, A] of `sequences` [S]; zeros for t = 0: [S, A, d_model].
  Tensor state(std::span<const int> sequences, const Tensor& positions) const;

  // The base's most probable tokens after each of `positions` [S, A, R] and their probabilities: [S, A, R, k] each.
  struct SoftTargets {
    Tensor tokens, probabilities;
  };
  SoftTargets soft_targets(std::span<const int> sequences, const Tensor& positions) const;

 private:
  struct Layout;
  Result<bool> open_file(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options);
  Status fill(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options);
  void compute(const BaseModel& base, const Sequence& sequence, int index, const RecordStoreOptions& options);
  void take(const BaseRecord& record, int index);
  Tensor kv_of(int sequence) const;  // [layers, 2, length, kv_heads, head_dim] halfs, a view of `kv_`

  torch::Device device_ = torch::kCPU;
  int64_t layers_ = 0, kv_heads_ = 0, head_dim_ = 0;
  std::vector<int64_t> first_;  // [sequences + 1] index of the first token of each sequence
  Tensor kv_;                   // [tokens * layers * 2 * kv_dim] halfs, one sequence after another
  Tensor state_;                // [tokens, d_model] halfs, or undefined
  Tensor soft_tokens_;          // [tokens, k] int32, or undefined
  Tensor soft_probabilities_;   // [tokens, k] halfs, or undefined
};

}  // namespace s3d::train
