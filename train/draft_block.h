// The draft block: what an adapter computes in a draft pass (docs/adapter.md), in a form that autograd can walk back
// through, over many anchors at once.
#pragma once

#include <torch/torch.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/adapter.h"
#include "train/base_model.h"
#include "train/draft_head.h"
#include "train/named_tensors.h"

namespace s3d::train {

// The trained tensors of an adapter. Shapes as in docs/adapter.md, rows first: a matrix is [out, in].
struct DraftParams {
  AdapterConfig config;            // its ranks and counts say which parts are there
  std::vector<int32_t> draft_ids;  // empty: the whole vocabulary
  NamedTensors tensors;            // all of them
  // The same tensors by use; undefined where a part is absent.
  Tensor masks;
  std::vector<std::array<std::pair<Tensor, Tensor>, kLoraTargets>> lora;  // [draft layers], (a, b)
  Tensor state_down, state_up, bridge_down, bridge_up, markov_p, markov_w2, confidence_w, confidence_b;
};

// A new adapter by `config` (draft layers, ranks, confidence; base_fingerprint and base_name are filled in). Masks
// start as the average embedding; of each low-rank pair the input side is random (keyed by `seed` and the tensor's
// name), the output side zero, so that the untrained adapter is plain layer skipping.
DraftParams new_params(const BaseModel& base, AdapterConfig config, std::vector<int32_t> draft_ids, uint64_t seed);

// From an adapter's file, and the bytes of one. Matrices of the file are stored as `type`.
Result<DraftParams> read_params(const BaseModel& base, const std::string& path);
Result<std::vector<std::byte>> params_image(const DraftParams& params, ggml_type type, const TrainingCost& cost = {});

// Copies tensors by name and shape into `params`; what either side lacks is left alone. Returns how many were copied.
int copy_matching(const DraftParams& from, DraftParams& params);

// Anchors of S sequences, A of each. The anchor at position t has the token x_t, decided but not yet run, and the
// context [0, t). Its rows stand at t, t + 1, …: of a draft pass x_t and masks, of a fused draft masks alone.
struct DraftBatch {
  int64_t sequences = 0;       // S
  int64_t anchors = 0;         // A
  int64_t rows = 0;            // R of each anchor: 1 to config.depth()
  Tensor positions;            // [S, A] t
  Tensor tokens;               // [S, A] x_t
  Tensor state;                // [S, A, d_model] rms(h) of position t - 1; undefined if the adapter has no state part
  int64_t context_length = 0;  // C: no anchor is at a later position
  // Keys and values of positions [0, C) in draft layer number `index`: [S, C, kv_heads, head_dim] each. A sequence may
  // be shorter; what stands there instead is never seen.
  std::function<LayerKv(int index)> context_kv;
};

// Everything that does not change while a draft block is trained.
class DraftBlock {
 public:
  DraftBlock(const BaseModel& base, const std::vector<int32_t>& draft_ids);

  // Output-normed hidden states of the rows of every anchor: [S * A, R, d_model].
  Tensor hidden(const DraftParams& params, const DraftBatch& batch) const;

  // Logits over the draft vocabulary of hidden [n, rows, d_model], when row j's previous token is previous[n, j]
  // (row 0's is x_t): [n, rows, drafted].
  Tensor logits(const DraftParams& params, const Tensor& hidden, const Tensor& previous) const;

  // The Markov head's input z of tokens (any shape): [..., rank].
  Tensor markov_state(const DraftParams& params, const Tensor& tokens) const;

  // Confidence logits of hidden [n, rows, d_model] with previous tokens [n, rows]: [n, rows].
  Tensor confidence(const DraftParams& params, const Tensor& hidden, const Tensor& previous) const;

  // The greedy chain, left to right on its own choices: tokens [n, rows].
  Tensor draft(const DraftParams& params, const Tensor& hidden, const Tensor& tokens) const;

  const DraftHead& head() const { return head_; }

 private:
  Tensor inputs(const DraftParams& params, const DraftBatch& batch) const;
  Tensor layer(const DraftParams& params, const DraftBatch& batch, int index, const Tensor& x, const Tensor& positions,
               const Tensor& hidden_keys) const;

  const BaseModel& base_;
  DraftHead head_;
};

}  // namespace s3d::train
