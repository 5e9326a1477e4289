// SIGINT and SIGTERM as events that one thread waits for.
#pragma once

#include <chrono>
#include <csignal>
#include <optional>

namespace s3d::cli {

// From its beginning on, the two signals are held back in this thread and in all that are started later; wait() takes
// them. At its end everything is as before.
// Thread rule: made and destroyed by the main thread, before it starts any other; wait() by that thread.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // The next signal, SIGINT or SIGTERM; nothing if none came in that time.
  std::optional<int> wait(std::chrono::milliseconds most) const;

 private:
  sigset_t held_{};
  sigset_t old_{};
};

}  // namespace s3d::cli
