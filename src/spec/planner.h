// What a round should draft: measured costs of passes, learned chances of drafts, and the choice between them
// (DESIGN section 6). Nothing here reads a clock: seconds come from outside, so that all of it can be tested.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "spec/drafter.h"

namespace s3d {

// Seconds of passes on this machine, refined while it runs.
struct PassCosts {
  static constexpr int kMostRows = 16;
  std::array<double, kMostRows + 1> full{};  // [n] a full pass of n rows, n = 1 … 16
  // [d] a draft of depth d, choosing its tokens included; 0 where there is none. Rows of a draft pass are not free.
  std::array<double, kMostRows + 1> draft{};

  double of(int rows) const { return full[static_cast<size_t>(rows < kMostRows ? rows : kMostRows)]; }
  // Moves the curve a little towards what was just seen; a pass that took absurdly long (the machine did something
  // else) counts as twice the expected time at most.
  void observe_full(int rows, double seconds);
  void observe_draft(int depth, double seconds);
};

// How often proposals of one drafter come true: by their own probability and depth. Forgets slowly.
class Calibration {
 public:
  // The chance that a node is accepted when its parent was; `depth` 0 for a child of the root.
  double chance(float probability, int depth) const;
  void learn(float probability, int depth, bool accepted);

  // The chance that the best proposal of a depth is accepted, before it is known: for choosing whether to draft.
  double chance_at(int depth) const;
  void learn_depth(int depth, double accepted);  // 0 or 1, or the chance of a draft that was not verified
  // Depths from `first` on were not drafted: what is believed of them follows the depth before, so that they are tried
  // again when a text becomes easier.
  void learn_undrafted(int first);

  // The same beliefs from fewer observations: for a new text, which may be another kind of text.
  Calibration faded() const;

 private:
  static constexpr int kBins = 10, kDepths = 4;
  struct Bin {
    double hits = 0, count = 0;
  };
  static size_t bin_of(float probability);
  static size_t depth_of(int depth) { return static_cast<size_t>(depth < kDepths ? depth : kDepths - 1); }

  std::array<std::array<Bin, kBins>, kDepths> bins_{};
  std::array<Bin, PassCosts::kMostRows> depths_{};
};

// Of a tree with calibrated chances: the nodes worth a row, and what they are worth.
struct Selection {
  DraftTree tree;     // parents before children
  double tokens = 1;  // expected of the round, the target's own included
  double rate = 0;    // tokens a second
};

// Takes the most probable paths first, as many as make tokens / (extra_seconds + costs.full[rows]) largest, at most
// `nodes`.
// `chances`: [tree.size()] of each node given its parent.
Selection select_nodes(const DraftTree& tree, const std::vector<double>& chances, const PassCosts& costs,
                       double extra_seconds, int nodes);

// How deep a draft by a pass should go, by the usual chances, and what the round is then worth.
struct DraftDepth {
  int depth = 0;
  double rate = 0;  // tokens a second
};
DraftDepth best_depth(const Calibration& calibration, const PassCosts& costs, int most, int nodes);

// How the promises of rounds with a drafter's pass were kept, in tokens. The best of several noisy estimates promises
// too much; what the rounds then made corrects it.
class TrackRecord {
 public:
  // To multiply a promised rate by.
  double factor() const { return (made_ + kPrior) / (promised_ + kPrior); }
  void learn(double promised, double made);
  void forget();  // a little: for times in which nothing is learned
  TrackRecord faded() const;

 private:
  static constexpr double kPrior = 40;
  double promised_ = 0, made_ = 0;
};

// All that a planner learns about a model, its drafters and this machine.
struct Learned {
  PassCosts costs;
  std::vector<Calibration> free;  // of the drafters that need no pass
  Calibration pass;               // of the one that does
  TrackRecord record;

  Learned faded() const;
};

// Whether a drafter that costs a pass is worth it, before it is asked. Keeps asking it now and then when it is not.
class DraftGate {
 public:
  // `expected_rate`: tokens a second of a round with it; `other_rate`: of the best round without it; `plain_rate`: of a
  // round without any draft. It is not tried while others do much better than plain decoding.
  bool open(double expected_rate, double other_rate, double plain_rate);
  // The draft that was let through is a probe: it is to be verified whatever is believed of it, and its outcome told.
  bool probing() const { return !open_; }
  void learn_probe(bool accepted);

 private:
  // Rounds. A probe costs a draft and a row more, together less than a pass: under a hundredth at the longest pause.
  static constexpr int kFirstPause = 8, kLongestPause = 128;
  bool open_ = true;
  int pause_ = kFirstPause;  // rounds between probes
  int waited_ = 0;
};

}  // namespace s3d
