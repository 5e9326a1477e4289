// Ctrl-C as a question instead of an end.
#pragma once

#include <csignal>

namespace s3d::cli {

// While one lives, SIGINT only sets a flag (and interrupts a blocking read); the old handler comes back at the end.
// Thread rule: one at a time, in the main thread.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  static bool requested();
  static void clear();

 private:
  struct sigaction old_ {};
};

}  // namespace s3d::cli
