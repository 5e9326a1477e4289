// The rows of the base's LM head that can be drafted, which all drafters share, and what they are trained towards.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "train/base_model.h"
#include "train/record_store.h"

namespace s3d::train {

class DraftHead {
 public:
  // `draft_ids`: the token of each row; empty: the whole vocabulary.
  DraftHead(const BaseModel& base, const std::vector<int32_t>& draft_ids);

  // Logits of output-normed hidden states [..., d_model]: [..., drafted].
  Tensor logits(const Tensor& hidden) const { return project(hidden, lm_head_); }

  // The tokens of the largest logits [..., drafted]: [...].
  Tensor best(const Tensor& logits) const;

  // Row of each token of any shape, or -1.
  Tensor rows_of(const Tensor& tokens) const;

  int64_t size() const { return lm_head_.size(0); }

 private:
  Tensor lm_head_;      // [drafted, d_model]
  Tensor draft_ids_;    // [drafted] or undefined
  Tensor draft_index_;  // [vocab]
};

// What rows are to draft.
struct HeadTargets {
  Tensor tokens;                                 // [...] the text's token, or -1 where there is none
  std::optional<RecordStore::SoftTargets> soft;  // [..., k], needed where soft_share > 0
  double soft_share = 0;                         // of the loss, 0 to 1
};

// Cross entropy of each row of logits [..., drafted] towards its token and the base's own distribution: [...]. Tokens
// of that distribution outside the draft vocabulary are left out.
Tensor token_loss(const DraftHead& head, const Tensor& logits, const HeadTargets& targets);

// 1 for the rows that have a token in the draft vocabulary to learn, else 0: [...].
Tensor learnable(const DraftHead& head, const Tensor& tokens);

}  // namespace s3d::train
