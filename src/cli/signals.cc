#include "cli/signals.h"

#include <ctime>

namespace s3d::cli {

Signals::Signals() {
  sigemptyset(&held_);
  sigaddset(&held_, SIGINT);
  sigaddset(&held_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &held_, &old_);
}

Signals::~Signals() {
  while (wait(std::chrono::milliseconds(0))) {  // one that came late must not end the program on its last steps
  }
  pthread_sigmask(SIG_SETMASK, &old_, nullptr);
}

std::optional<int> Signals::wait(std::chrono::milliseconds most) const {
  const std::timespec time{.tv_sec = most.count() / 1000, .tv_nsec = most.count() % 1000 * 1'000'000};
  const int signal = sigtimedwait(&held_, nullptr, &time);
  return signal > 0 ? std::optional(signal) : std::nullopt;
}

}  // namespace s3d::cli
