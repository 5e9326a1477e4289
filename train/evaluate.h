// How well an adapter, and a base that was trained with it, do on text that they were not trained on.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "train/base_score.h"
#include "train/dataset.h"
#include "train/draft_block.h"
#include "train/record_store.h"

namespace s3d::train {

// Counts of greedy chain decoding over answers, as an engine would do it: draft chains of so many tokens, keep those
// that agree with the answer, add the target's own next one.
struct Acceptance {
  int64_t rounds = 0;
  int64_t tokens = 0;             // produced in all rounds, the target's own included
  std::vector<int64_t> reached;   // [depth] rounds in which all drafts before depth j were right
  std::vector<int64_t> accepted;  // [depth] … and the draft of depth j too

  double mean() const;              // tokens per round; 0 without rounds
  double rate(size_t depth) const;  // accepted / reached; 0 if it was never reached
  void add(const Acceptance& other);
};

// Walks through one answer. drafts[t - prompt_length] holds the chain drafted when x_t was the last decided token.
Acceptance walk(const Sequence& sequence, const std::vector<std::vector<int32_t>>& drafts, int chain);

// The chains that a drafter gives at every anchor of a sequence, as walk() takes them. Tokens of a chain beyond the end
// of the text are not looked at.
using Drafts = std::function<std::vector<std::vector<int32_t>>(int sequence)>;

// Appends the rows of `tokens` [anchors, chain].
void append_chains(const Tensor& tokens, std::vector<std::vector<int32_t>>& chains);

// Walks through the answers of the sequences first, first + stride, …
Acceptance evaluate(const Dataset& data, int chain, const Drafts& drafts, int first = 0, int stride = 1);

// Those of an adapter.
std::vector<std::vector<int32_t>> adapter_chains(const DraftBlock& block, const DraftParams& params,
                                                 const Dataset& data, const RecordStore& store, torch::Device device,
                                                 int sequence);

struct HeldOut {
  Acceptance acceptance;
  BaseScore base;  // empty where the base stays as it is
};

// Both, of a base that is not the one that made the text: it is run over all of it first. The rounds are still those of
// the text: a draft counts as right when it is the text's token.
Result<HeldOut> evaluate_pair(const BaseModel& base, const DraftBlock& block, const DraftParams& params,
                              const Dataset& data);

}  // namespace s3d::train
