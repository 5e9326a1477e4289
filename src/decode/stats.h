// What speculation did: counts and times of one generation, or of many added up. Names as vLLM's users know them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "model/layer_set.h"

namespace s3d {

struct SpecStats {
  static constexpr int kMaxDepth = kMaxRoundRows;  // deeper drafts count as this deep

  int64_t num_rounds = 0;           // full passes while decoding, with or without a draft
  int64_t num_drafts = 0;           // of them, with a draft
  int64_t num_draft_tokens = 0;     // verified rows beyond the last decided token
  int64_t num_accepted_tokens = 0;  // of them, chosen by the target too: tokens of the text, or its end
  // [depth] rounds in which a token was drafted at that depth and all before it were right, and those in which it was
  // right too. A tree counts once for each depth.
  std::array<int64_t, kMaxDepth> reached_by_depth{};
  std::array<int64_t, kMaxDepth> accepted_by_depth{};
  std::array<int64_t, kMaxDepth + 1> acceptance_histogram{};  // [accepted tokens] drafts
  double draft_seconds = 0;                                   // planning what to draft included
  double verify_seconds = 0;                                  // full passes while decoding
  double sample_seconds = 0;                                  // choosing and comparing tokens, OnToken included
  double other_seconds = 0;                                   // of decoding: committing rows, learning

  // Tokens of a round that had a draft, the target's own included; 0 without drafts.
  double mean_acceptance_length() const;
  double draft_acceptance_rate() const;             // accepted / drafted; 0 without drafts
  std::vector<double> acceptance_by_depth() const;  // accepted / reached, up to the deepest depth reached
  void add(const SpecStats& other);
};

}  // namespace s3d
