// What passes cost and how often drafts come true: what a choice between drafts is made from (draft_choice.h). Nothing
// here reads a clock: seconds come from outside, so that all of it can be tested.
#pragma once

#include <array>
#include <cstddef>

#include "base/index.h"
#include "model/layer_set.h"

namespace s3d {

// Seconds of passes on this machine, refined while it runs.
struct PassCosts {
  std::array<double, kMaxRoundRows + 1> full{};  // [n] a full pass of n rows, n = 1 … kMaxRoundRows
  // [d] a draft of depth d, choosing its tokens included; 0 where there is none. Rows of a draft pass are not free.
  std::array<double, kMaxRoundRows + 1> draft{};

  double of(int rows) const { return full[rows < kMaxRoundRows ? rows : kMaxRoundRows]; }
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
  static size_t depth_of(int depth) { return usize(depth < kDepths ? depth : kDepths - 1); }

  std::array<std::array<Bin, kBins>, kDepths> bins_{};
  std::array<Bin, kMaxRoundRows> depths_{};
};

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

}  // namespace s3d
