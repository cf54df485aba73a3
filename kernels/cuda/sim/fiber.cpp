// Stacks and the switch between them.

#include "kernels/cuda/sim/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <vector>

#ifdef CUSIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CUSIM_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#ifndef CUSIM_UCONTEXT
// void cusim_switch(void** from_stack_pointer, void* to_stack_pointer)
// The caller has saved what the calling convention lets it lose; the six registers here are the rest.
extern "C" void cusim_switch(void** from, void* to);
asm(R"(
.text
.globl cusim_switch
.type cusim_switch, @function
cusim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cusim_switch, .-cusim_switch
.section .note.GNU-stack, "", @progbits
.text
)");
#endif

namespace cusim {
namespace {

constexpr size_t page = 4096;
#ifdef CUSIM_ASAN
constexpr size_t stack_size = 512 << 10;  // redzones make frames several times larger
#else
constexpr size_t stack_size = 128 << 10;  // room for printf from a kernel
#endif

thread_local void (*starting_entry)() = nullptr;
#ifdef CUSIM_ASAN
thread_local const void* os_stack =
    nullptr;  // AddressSanitizer must be told the bounds of the stack we return to
thread_local size_t os_stack_bytes = 0;
#endif

// First function of every fiber.
void begin() {
#ifdef CUSIM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &os_stack,
                                  &os_stack_bytes);  // fibers are entered from the OS stack
#endif
  starting_entry();
  __builtin_trap();  // entry never returns
}

}  // namespace

Fiber* make_fiber(void (*entry)()) {
  starting_entry = entry;  // cusim has one entry function, so the last one set is the right one
  auto* fiber = new Fiber;
  fiber->stack_bytes = stack_size;
  void* memory = mmap(nullptr, stack_size + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);  // an overflow stops here instead of in the neighbour's stack
  fiber->stack = static_cast<char*>(memory) + page;
#ifdef CUSIM_UCONTEXT
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = stack_size;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, begin, 0);
#else
  // What cusim_switch pops: six registers, then the address to go to; above it a null return address, where
  // debuggers stop. The ABI wants the stack at 16 n + 8 when a function begins.
  auto* top = reinterpret_cast<void**>(fiber->stack + stack_size - 16);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void*>(&begin);
  for (int i = 3; i <= 8; ++i) top[-i] = nullptr;
  fiber->stack_pointer = top - 8;
#endif
#ifdef CUSIM_TSAN
  fiber->tsan = __tsan_create_fiber(0);
#endif
  return fiber;
}

#ifdef CUSIM_TSAN
static std::vector<void*> freed;
#endif
void forget_freed_fibers() {
#ifdef CUSIM_TSAN
  for (void* fiber : freed) __tsan_destroy_fiber(fiber);
  freed.clear();
#endif
}

void free_fiber(Fiber* fiber) {
#ifdef CUSIM_TSAN
  freed.push_back(fiber->tsan);
  if (freed.size() > 4000) forget_freed_fibers();  // it has room for about 8000
#endif
#ifdef CUSIM_ASAN
  if (fiber->stack) __asan_unpoison_memory_region(fiber->stack, fiber->stack_bytes);
#endif
  if (fiber->stack) munmap(fiber->stack - page, fiber->stack_bytes + page);
  delete fiber;
}

Fiber* fiber_of_this_thread() {
  thread_local Fiber fiber;
#ifdef CUSIM_TSAN
  fiber.tsan = __tsan_get_current_fiber();
#endif
  return &fiber;
}

void switch_fiber(Fiber& from, Fiber& to, [[maybe_unused]] bool for_good) {
#ifdef CUSIM_ASAN
  const void* bottom = to.stack ? to.stack : os_stack;
  const size_t bytes = to.stack ? to.stack_bytes : os_stack_bytes;
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from.fake_stack, bottom, bytes);
#endif
#ifdef CUSIM_TSAN
  __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef CUSIM_UCONTEXT
  swapcontext(&from.context, &to.context);
#else
  cusim_switch(&from.stack_pointer, to.stack_pointer);
#endif
#ifdef CUSIM_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

}  // namespace cusim
