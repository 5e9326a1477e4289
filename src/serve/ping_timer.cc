#include "serve/ping_timer.h"

#include <chrono>
#include <utility>

namespace s3d::serve {

PingTimer::PingTimer(double seconds) : seconds_(seconds) {
  if (seconds_ > 0) thread_ = std::thread([this] { run(); });
}

PingTimer::~PingTimer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void PingTimer::watch(std::weak_ptr<PingTarget> target) {
  if (seconds_ <= 0) return;
  {
    const std::lock_guard lock(mutex_);
    targets_.push_back(std::move(target));
  }
  wake_.notify_all();
}

void PingTimer::run() {
  const std::chrono::duration<double> between(seconds_ / 4);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (targets_.empty()) {
      wake_.wait(lock, [this] { return stopping_ || !targets_.empty(); });
      continue;
    }
    wake_.wait_for(lock, between, [this] { return stopping_; });
    std::erase_if(targets_, [](const auto& target) { return target.expired(); });
    const std::vector<std::weak_ptr<PingTarget>> now = targets_;
    lock.unlock();
    for (const auto& weak : now) {
      if (const auto target = weak.lock()) target->ping_if_silent(seconds_);
    }
    lock.lock();
  }
}

}  // namespace s3d::serve
