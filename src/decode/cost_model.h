// What passes cost and how often drafts come true: what a choice between drafts is made from (draft_choice.h). Nothing
// here reads a clock: seconds come from outside, so that all of it can be tested.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "base/index.h"
#include "model/layer_set.h"

namespace s3d {

// Seconds of full passes on this machine by their rows, refined while it runs. Thread rule: that of a plain value.
struct PassCosts {
  static constexpr int kMaxRows = 256;  // wider passes are a straight line on

  std::array<double, kMaxRows + 1> full{};  // [n] a pass of n rows; all 0: nothing is known
  bool measured = false;                    // it was measured on purpose, and not learned from whatever passes came

  // A curve through what was measured, straight lines between and behind. `points`: rows, ascending, from 1 on, at
  // least two, and the seconds.
  struct Point {
    int rows;
    double seconds;
  };
  static PassCosts through(std::span<const Point> points);

  bool known() const { return full[1] > 0; }
  double of(int rows) const;  // 0 if nothing is known
  // Moves the curve a little towards what was just seen; a pass that took absurdly long (the machine did something
  // else) counts as twice the expected time at most. The first pass of all gives an unknown curve its scale.
  void observe(int rows, double seconds);
};

// Seconds of drafts by a pass, choosing their tokens included. Refined while it runs.
struct DraftCosts {
  // [n] a draft pass of n rows, or n passes of a drafter that runs one after the other; 0 where nothing is known. Rows
  // of a draft pass are not free.
  std::array<double, kMaxRoundRows + 1> seconds{};
  // Of one that runs a pass for each depth, whose passes several sequences share: each of them but the first makes the
  // passes longer by that share of what they take for one.
  bool in_steps = false;
  double sharer = 0.15;

  double of(int rows) const;  // behind what is known a straight line on
  // What one of `drafters` pays that share their passes, each with a draft of that depth.
  double share(int depth, int drafters) const;
  void observe(int rows, double seconds);
  void observe_steps(int depth, int drafters, double seconds);
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

  // What was measured before of drafts of each depth, those before them being right: counts as a few observations.
  void begin_with(std::span<const double> chances);

  // The same beliefs from fewer observations: for a new text, which may be another kind of text.
  Calibration faded() const;

 private:
  // Narrow bins near 1: whether a long copy is worth its rows depends on whether 98 or 99.9 of 100 tokens are right.
  static constexpr std::array kBinEnds = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F, 0.7F, 0.8F, 0.9F, 0.95F, 0.98F, 0.99F};
  static constexpr int kBins = static_cast<int>(kBinEnds.size()) + 1, kDepths = 4;
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
