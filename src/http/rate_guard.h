// Whether bytes move fast enough: the defence against clients that send or read a byte now and then.
#pragma once

#include <chrono>
#include <cstddef>

#include "http/event_loop.h"

namespace s3d::http {

// In every window at least rate * window bytes must move. Counts only between begin() and end().
class RateGuard {
 public:
  RateGuard(std::chrono::milliseconds window, double rate)
      : window_(window), least_(rate * std::chrono::duration<double>(window).count()) {}

  void begin() {
    if (deadline_ == kNever) next_window();
  }
  void end() { deadline_ = kNever; }
  void moved(size_t bytes) { moved_ += static_cast<double>(bytes); }

  // When to look next; kNever outside of begin() and end().
  TimePoint deadline() const { return deadline_; }

  // At the deadline. False: too slow; true: a new window has begun.
  bool fast_enough() {
    if (moved_ < least_) return false;
    next_window();
    return true;
  }

 private:
  void next_window() {
    moved_ = 0;
    deadline_ = Clock::now() + window_;
  }

  std::chrono::milliseconds window_;
  double least_;
  double moved_ = 0;
  TimePoint deadline_ = kNever;
};

}  // namespace s3d::http
