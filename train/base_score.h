// How well the base itself predicts the answers of a text.
#pragma once

#include <cstdint>

#include "train/base_model.h"
#include "train/dataset.h"

namespace s3d::train {

// Counts over answer tokens, each predicted from all tokens before it.
struct BaseScore {
  double nll = 0;      // sum of their negative log-likelihoods
  int64_t tokens = 0;  // how many
  int64_t agreed = 0;  // of them the base's greedy choice

  double perplexity() const;  // 0 without tokens
  double agreement() const;   // share of greedy choices; 0 without tokens
  void add(const BaseScore& other);
};

// Logits that predict the tokens of the answer, from the sequence's hidden states (before the output norm):
// [answer_length, vocab].
Tensor answer_logits(const BaseModel& base, const Sequence& sequence, const Tensor& hidden);

// The answer's tokens, which these logits predict: [answer_length].
Tensor answer_tokens(const BaseModel& base, const Sequence& sequence);

BaseScore score_answer(const BaseModel& base, const Sequence& sequence, const Tensor& hidden);

}  // namespace s3d::train
