#pragma once
// Ctrl-C: the first one asks the loop to finish its step and save; the second one stops at once.
//
//   InterruptGuard interrupt;
//   for (...) {
//     step();
//     if (interrupt.requested()) { save(); return context.interrupted(folder); }
//   }
#include <csignal>

namespace chalk {

// While it lives, SIGINT and SIGTERM set a flag instead of killing the process. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;

 private:
  struct sigaction old_int_, old_term_;
};

}  // namespace chalk
