#pragma once
// How Chalk fails: one exception type per exit code of its programs, and messages that name what was got and expected.
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace chalk {

// Any failure. A program that catches it prints what() and exits with exit_code (DESIGN section 7).
struct Error : std::runtime_error {
  explicit Error(const std::string& message, int exit_code = 1)
      : std::runtime_error(message), exit_code(exit_code) {}
  int exit_code;
};

// A flag, a prompt or a call that cannot be satisfied: exit code 2.
struct UsageError : Error {
  explicit UsageError(const std::string& message) : Error(message, 2) {}
};

// A file that is missing or does not hold what it should: exit code 3.
// `field` is the part of the file that is wrong ("header", "tensor wte.weight", "line 12"); empty for the file as a whole.
struct FileError : Error {
  FileError(const std::string& path, const std::string& field, const std::string& reason)
      : Error(field.empty() ? path + ": " + reason : path + ": " + field + ": " + reason, 3) {}
};

// The backend that was asked for does not exist in this build or on this machine: exit code 4.
struct BackendUnavailable : Error {
  explicit BackendUnavailable(const std::string& message) : Error(message, 4) {}
};

// check(w.dim(1) == C, "linear: weight has {} columns but x has {} channels", w.dim(1), C);
template <class... Args>
void check(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace chalk
