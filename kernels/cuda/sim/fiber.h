#pragma once
// A fiber: a stack that can be left in the middle of a function and entered again later. Every GPU thread that waits at a
// barrier is a fiber. Switching costs about 10 ns with the 15 instructions in fiber.cpp; ucontext is the portable path
// (define CUSIM_UCONTEXT to try it), twenty times slower because it makes a system call.

#include <cstddef>

#if !defined(__x86_64__) && !defined(CUSIM_UCONTEXT)
#define CUSIM_UCONTEXT
#endif
#ifdef CUSIM_UCONTEXT
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define CUSIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUSIM_ASAN 1
#endif
#endif
#if defined(CUSIM_USE_TSAN)  // set by the Makefile: cusim itself is compiled without instrumentation
#define CUSIM_TSAN 1
#endif

namespace cusim {

struct Fiber {
#ifdef CUSIM_UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer = nullptr;  // everything else is saved on the stack
#endif
  char* stack = nullptr;  // lowest address, behind a guard page; null: the stack of the OS thread itself
  size_t stack_bytes = 0;
  void* tsan = nullptr;        // ThreadSanitizer's idea of this fiber
  void* fake_stack = nullptr;  // AddressSanitizer's
};

// A fiber that will run entry() when it is first switched to. entry never returns.
Fiber* make_fiber(void (*entry)());
void free_fiber(Fiber* fiber);
void forget_freed_fibers();  // ThreadSanitizer keeps them until then: a reused number would hide races between blocks
Fiber* fiber_of_this_thread();  // stands for the stack that the caller runs on

// Leaves `from`, which must be running, and continues `to`. for_good: `from` will not be entered again.
void switch_fiber(Fiber& from, Fiber& to, bool for_good = false);

}  // namespace cusim
