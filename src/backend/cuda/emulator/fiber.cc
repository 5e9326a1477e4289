#include "backend/cuda/emulator/fiber.h"

#include <cstdint>

#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "the emulated CUDA device switches stacks in x86-64 assembly; build with -DS3D_CUDA=OFF on other processors"
#endif

// void s3d_switch_stack(void** save, void* load, void* argument): keeps what a function must keep (System V ABI, 3.2.1)
// on this stack and its pointer in *save, and goes on with the stack `load`. `argument` is what a fresh fiber's first
// function is given.
asm(R"(
.text
.p2align 4
.globl s3d_switch_stack
.hidden s3d_switch_stack
.type s3d_switch_stack, @function
s3d_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  movq %rdx, %rdi
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size s3d_switch_stack, .-s3d_switch_stack
.section .note.GNU-stack, "", @progbits
.text
)");
extern "C" void s3d_switch_stack(void** save, void* load, void* argument);

namespace s3d::emulator {

void Fiber::start(std::byte* stack, size_t bytes, void (*body)(void*), void* argument) {
  S3D_CHECK(done_ && bytes >= 4096, "a fiber that still runs, or a stack that is too small");
  stack_ = stack;
  stack_bytes_ = bytes;
  body_ = body;
  argument_ = argument;
  done_ = false;
  fake_stack_ = nullptr;
  // What s3d_switch_stack takes off the stack: six registers, then where to go on. A function begins with a stack
  // pointer that is 8 beyond a multiple of 16, as after a call.
  auto top = (reinterpret_cast<uintptr_t>(stack) + bytes) / 16 * 16;
  auto* slots = reinterpret_cast<void**>(top) - 8;
  for (int i = 0; i < 6; ++i) slots[i] = nullptr;
  slots[6] = reinterpret_cast<void*>(&Fiber::enter);
  slots[7] = nullptr;  // where enter() would return to
  stack_pointer_ = slots;
}

void Fiber::resume() {
#if defined(__SANITIZE_ADDRESS__)
  void* mine = nullptr;
  __sanitizer_start_switch_fiber(&mine, stack_, stack_bytes_);
  s3d_switch_stack(&caller_pointer_, stack_pointer_, this);
  __sanitizer_finish_switch_fiber(mine, nullptr, nullptr);
#else
  s3d_switch_stack(&caller_pointer_, stack_pointer_, this);
#endif
}

void Fiber::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(done_ ? nullptr : &fake_stack_, caller_stack_, caller_stack_bytes_);
  s3d_switch_stack(&stack_pointer_, caller_pointer_, nullptr);
  __sanitizer_finish_switch_fiber(fake_stack_, &caller_stack_, &caller_stack_bytes_);
#else
  s3d_switch_stack(&stack_pointer_, caller_pointer_, nullptr);
#endif
}

void Fiber::enter(void* self) {
  auto* fiber = static_cast<Fiber*>(self);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &fiber->caller_stack_, &fiber->caller_stack_bytes_);
#endif
  fiber->body_(fiber->argument_);
  fiber->done_ = true;
  fiber->suspend();
  S3D_CHECK(false, "a fiber that was done has been resumed");
}

}  // namespace s3d::emulator
