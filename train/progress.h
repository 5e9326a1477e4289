// When a long job says how far it is.
#pragma once

#include "base/stopwatch.h"

namespace s3d::train {

// Counts from its making on. Not for several threads.
class Progress {
 public:
  double seconds() const { return watch_.seconds(); }
  // True every ten seconds, and for the last thing to tell.
  bool due(bool last) {
    const double now = seconds();
    if (!last && now < told_ + kPause) return false;
    told_ = now;
    return true;
  }

 private:
  static constexpr double kPause = 10;
  Stopwatch watch_;
  double told_ = 0;
};

}  // namespace s3d::train
