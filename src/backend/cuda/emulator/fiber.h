// A fiber: a function with a stack of its own that can be left in its middle and gone on with later.
#pragma once

#include <cstddef>

namespace s3d::emulator {

// Thread rule: all calls by one thread. The body runs inside of resume(), and must not let an exception out.
class Fiber {
 public:
  // `body(argument)` will run on the stack [stack, stack + bytes), which must outlive the fiber and holds nothing else.
  void start(std::byte* stack, size_t bytes, void (*body)(void*), void* argument);

  // Runs the body until it calls suspend() or returns. Not after it has returned.
  void resume();

  // Back to who called resume(); called by the body.
  void suspend();

  bool done() const { return done_; }

 private:
  static void enter(void* self);

  void* stack_pointer_ = nullptr;   // of the fiber while it is suspended
  void* caller_pointer_ = nullptr;  // of resume()'s caller while the fiber runs
  std::byte* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool done_ = true;
  // For AddressSanitizer, which must be told of every change of stacks.
  void* fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_stack_bytes_ = 0;
};

}  // namespace s3d::emulator
