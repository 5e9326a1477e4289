// Tells streams that nothing was sent on for a while, so that they can say that they are still there.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace s3d::serve {

// Called on the timer's thread; must be quick.
class PingTarget {
 public:
  virtual ~PingTarget() = default;
  // Nothing, if something was sent in the last `seconds`.
  virtual void ping_if_silent(double seconds) = 0;
};

// Thread rule: any thread, any number at a time; the destructor after all others.
class PingTimer {
 public:
  // After so many seconds; 0: never. A target is asked a little later than that, by a quarter at most.
  explicit PingTimer(double seconds);
  PingTimer(const PingTimer&) = delete;
  PingTimer& operator=(const PingTimer&) = delete;
  ~PingTimer();

  // Asks the target now and then, as long as it lives.
  void watch(std::weak_ptr<PingTarget> target);

 private:
  void run();

  const double seconds_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::weak_ptr<PingTarget>> targets_;  // by mutex_
  bool stopping_ = false;                           // by mutex_
  std::thread thread_;
};

}  // namespace s3d::serve
