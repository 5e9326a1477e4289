// Decides, round by round, what one sequence drafts: with which drafter, how many tokens, or nothing.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "spec/drafter.h"
#include "spec/planner.h"

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
  // Hidden states of the last row are kept for DraftContext::state.
  virtual bool needs_state() const = 0;
  // Replaces `tree` by what is to be verified in this round; empty: a plain round.
  virtual Status propose(const DraftContext& context, const DraftLimits& limits, DraftTree& tree) = 0;
  // What became of the last proposal; after every round, plain ones too.
  virtual void learn(const DraftTree& tree, const RoundResult& result) = 0;
  virtual size_t extra_bytes() const = 0;
};

// Always drafts `nodes` tokens with one drafter, up to `width` alternatives for each position. `drafter` is kept.
std::unique_ptr<Speculator> make_fixed_speculator(std::unique_ptr<Drafter> drafter, int nodes, int width = 1);

// The planner: every round it compares plain decoding, the `free` drafters (which need no pass) and `pass` (may be
// null), and takes what promises most tokens a second by costs and by what it learned of each. `width`: alternatives
// that `pass` is asked for. `shared` holds the measured costs at first; planners with the same drafters may share one
// (by one thread at a time): each begins with a faded copy of what the others learned, and adds to it.
std::unique_ptr<Speculator> make_auto_speculator(std::vector<std::unique_ptr<Drafter>> free,
                                                 std::unique_ptr<Drafter> pass, std::shared_ptr<Learned> shared,
                                                 int width = 1);

}  // namespace s3d
