#include "cli/interrupt.h"

namespace s3d::cli {
namespace {

// A signal handler has no argument to carry state in: this flag is the only way out of it.
volatile std::sig_atomic_t g_requested = 0;

extern "C" void on_sigint(int) {
  g_requested = 1;
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
  return g_requested != 0;
}

void Interrupt::clear() {
  g_requested = 0;
}

}  // namespace s3d::cli
