// How far a run is and what is due: by its steps, or by the clock.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/stopwatch.h"
#include "train/recipe.h"

namespace s3d::train {

// Something that is done every so many steps or, if `seconds` is above 0, every so many seconds.
class Every {
 public:
  Every(int64_t steps, double seconds) : steps_(steps), seconds_(seconds) {}

  // After step number `step`, at the time `now`.
  bool due(int64_t step, double now) {
    if (seconds_ <= 0) return step % steps_ == 0;
    if (next_ < 0) next_ = now + seconds_;
    if (now < next_) return false;
    next_ = now + seconds_;
    return true;
  }

 private:
  int64_t steps_;
  double seconds_;
  double next_ = -1;
};

// The time of a run that has so many minutes for everything (recipe.minutes; 0: as long as its steps take). It counts
// on where an earlier process of the same run left a checkpoint; between the two it stands still.
class TimeBox {
 public:
  // What a checkpoint keeps.
  struct State {
    double spent = 0;    // seconds of the run up to now
    double began = -1;   // of them before the first step; below 0: there was none
    double closing = 0;  // seconds that measuring and storing took at most
  };

  explicit TimeBox(const Recipe& recipe) : clock_(recipe.clock), seconds_(60 * recipe.minutes) {}

  State state() const { return {spent(), state_.began, state_.closing}; }
  void go_on(const State& state) { state_ = state; }

  double spent() const { return state_.spent + clock_.seconds(); }
  void closing_took(double seconds) { state_.closing = std::max(state_.closing, seconds); }

  // The share of the training time that is over; at 1 what is left is just enough for the last measurement, the files,
  // and the measurement of what was stored. 0 without a box.
  double done() {
    if (seconds_ <= 0) return 0;
    const double now = spent();
    if (state_.began < 0) state_.began = now;
    const double end = seconds_ - 2 * state_.closing - kSlack * seconds_;
    return end > now ? (now - state_.began) / (end - state_.began) : 1;
  }

 private:
  static constexpr double kSlack = 0.01;
  Stopwatch clock_;
  double seconds_;
  State state_;
};

}  // namespace s3d::train
