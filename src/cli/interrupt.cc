#include "cli/interrupt.h"

#include <atomic>

namespace s3d::cli {
namespace {

// A signal handler has no argument to carry state in: this flag is the only way out of it. Atomic, because the handler
// may run in any thread.
std::atomic<bool> g_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_sigint(int) {
  g_requested = true;
}

}  // namespace

Interrupt::Interrupt() {
  clear();
  struct sigaction action {};
  action.sa_handler = on_sigint;  // no SA_RESTART: a line editor that waits for a key must notice
  sigaction(SIGINT, &action, &old_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &old_, nullptr);
}

bool Interrupt::requested() {
  return g_requested;
}

void Interrupt::clear() {
  g_requested = false;
}

}  // namespace s3d::cli
