// Decides, round by round, what one sequence drafts: with which drafter, how many tokens, or nothing.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "decode/drafter.h"

namespace s3d {

// What a round of one sequence came to.
struct RoundResult {
  std::vector<int> path;      // nodes of the tree that were accepted, from the root on
  bool finished = false;      // with the last of them: what was drafted after it was not compared
  double draft_seconds = 0;   // for this sequence
  double verify_seconds = 0;  // the full pass, shared by all sequences in it
  int verify_rows = 1;        // of all sequences in the pass
};

// Thread rule: one call at a time; one object for each sequence that is generated.
class Speculator {
 public:
  virtual ~Speculator() = default;
  // Hidden states of the last row are kept for DraftInput::state.
  virtual bool needs_state() const = 0;
  // Replaces `tree` by what is to be verified in this round; empty: a plain round.
  virtual Status propose(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) = 0;
  // What became of the last proposal; after every round, plain ones too.
  virtual void learn(const DraftTree& tree, const RoundResult& result) = 0;
  virtual size_t extra_bytes() const = 0;
};

// Always drafts `nodes` tokens with one drafter, up to `width` alternatives for each position. `drafter` is kept.
std::unique_ptr<Speculator> make_fixed_speculator(std::unique_ptr<Drafter> drafter, int nodes, int width = 1);

}  // namespace s3d
