// The choices of a planner: how deep to draft, which nodes of a draft are worth a row, whether to ask a drafter at all.
#pragma once

#include <vector>

#include "decode/cost_model.h"
#include "decode/drafter.h"
#include "decode/speculator.h"

namespace s3d {

// Of a tree with calibrated chances: the nodes worth a row, and what they are worth.
struct Selection {
  DraftTree tree;     // parents before children
  double tokens = 1;  // expected of the round, the target's own included
  double rate = 0;    // tokens a second, of all sequences in the pass
};

// Takes the most probable paths first, as many as make load.rate() largest, at most `nodes`.
// `chances`: [tree.size()] of each node given its parent.
Selection select_nodes(const DraftTree& tree, const std::vector<double>& chances, const RoundLoad& load,
                       double extra_seconds, int nodes);

// How deep a draft by a pass should go, by the usual chances, and what the round is then worth.
struct DraftDepth {
  int depth = 0;
  double rate = 0;  // tokens a second, of all sequences in the pass
};
DraftDepth best_depth(const Calibration& calibration, const DraftCosts& draft_costs, const RoundLoad& load, int most,
                      int nodes);

// Whether a drafter that costs a pass is worth it, before it is asked. Keeps asking it now and then when it is not.
class DraftGate {
 public:
  // `drafters`: that are probed beside each other; the more, the rarer each of them at last.
  explicit DraftGate(int drafters = 1) : max_pause_(kMaxPause * drafters) {}

  // Whether `expected_rate`, tokens a second of a round with it, is enough more than `other_rate`, that of the best
  // round without it.
  bool is_worth(double expected_rate, double other_rate);
  void close() { open_ = false; }  // another one is asked instead
  // After is_worth() was false: whether a probe is due. None is while `free_rate`, of the best round without a pass, is
  // much better than `plain_rate`, of one without a draft. `sequences`: that decode in the round, and would all wait
  // for it: each probes so much more rarely. Its draft is to be verified whatever is believed of it, and its outcome
  // told.
  bool wants_probe(double free_rate, double plain_rate, int sequences);
  void learn_probe(bool accepted);  // where the choice was between it and no pass
  void learn_contest(bool better);  // where another one's pass was worth it: whether the round made more of it

 private:
  // Rounds. A probe costs a draft and a row more, together less than a pass: under a hundredth at the longest pause.
  static constexpr int kFirstPause = 8, kMaxPause = 128;
  int max_pause_;
  bool open_ = true;
  bool near_ = false;        // the promise was hardly less than what the others do
  int pause_ = kFirstPause;  // rounds between probes
  int waited_ = 0;
};

}  // namespace s3d
