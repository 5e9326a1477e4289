// The best tokens of rows of logits, for a caller who needs no more of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/index.h"
#include "s3d/types.h"

namespace s3d {

struct RankedToken {
  TokenId token;  // its place in the row: of a draft pass, in the draft vocabulary
  float logit;

  bool operator==(const RankedToken&) const = default;
};

// Rows of logits: given, or kept by the backend (Block::keep_logits).
struct LogitRows {
  std::span<const float> logits;  // [rows, width]; empty: the backend's own, of its last pass
  int first = 0;                  // of those, where the rows begin
  int rows = 0;
};

// What is asked of each row.
struct ChoiceAsk {
  static constexpr int kMost = 64;
  int best = 1;  // tokens: from 1 to kMost
  bool sums =
      false;  // also the sum of e^(logit - largest logit): a token's probability is e^(its logit - largest) / it
};

// The answer. Its buffers are used again.
struct Choices {
  int best = 0;                     // asked for
  std::vector<RankedToken> tokens;  // [rows, best] larger logits first, of equal ones the smaller token; logits that
                                    // are NaN or minus infinity are none. Token -1: the row has no more.
  std::vector<float> sums;          // [rows], or empty: softmax::sum_of_exp
  std::vector<uint8_t> finite;      // [rows] 1: all logits of the row are finite numbers
  std::vector<float> z;             // [rows, Markov rank] of a draft with a Markov head: what its confidence head reads
  std::vector<float> scratch;

  void resize(int rows, const ChoiceAsk& ask);
  std::span<const RankedToken> row(int i) const {
    return std::span(tokens).subspan(usize(i) * usize(best), usize(best));
  }
};

// The best tokens of one row of logits, in the order of Choices::tokens; behind the last of them -1.
void take_best(std::span<const float> logits, std::span<RankedToken> out);

// Row `i` of `out`, which was resized for `ask`.
void choose_row(std::span<const float> logits, const ChoiceAsk& ask, int i, Choices& out);

}  // namespace s3d
