#include "tutorials/support/signals.h"

#include <unistd.h>

namespace chalk {
namespace {

volatile sig_atomic_t interrupted = 0;

// Only async-signal-safe calls are allowed in here: write() and _exit(), no printf.
void on_signal(int) {
  if (interrupted) _exit(130);
  interrupted = 1;
  const char text[] = "\ninterrupt: finishing this step and saving; once more stops at once\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // a read or write that the signal lands in goes on
  sigaction(SIGINT, &action, &old_int_);
  sigaction(SIGTERM, &action, &old_term_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &old_int_, nullptr);
  sigaction(SIGTERM, &old_term_, nullptr);
}

bool InterruptGuard::requested() const {
  return interrupted != 0;
}

}  // namespace chalk
