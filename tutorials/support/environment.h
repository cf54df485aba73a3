#pragma once
// What ran, where and when: printed at the start of every program and stored with every run, so that a number
// can be made again.
#include <string>
#include <vector>

#include "tutorials/support/json.h"

namespace chalk {

struct Environment {
  std::string command;      // as typed, quoted for a shell
  std::string date;         // "2026-01-31 17:05:09 +0100"
  std::string device;       // "cpu (SIMD)"
  std::string simd_target;  // Highway's name: "AVX2"; "SCALAR" means that this build has no SIMD
  int simd_lanes = 1;       // floats per vector
  int threads = 1;
  std::string processor;  // "Intel(R) Xeon(R) ..."
  std::string compiler;   // "g++ 12.2.0"
};

Environment make_environment(const std::vector<std::string>& arguments, const std::string& device,
                             int threads);

// "device cpu (SIMD), AVX3_DL with 16 float lanes, 2 threads"
std::string one_line(const Environment& environment);
Json to_json(const Environment& environment);

// A command line that a shell reads back as the same arguments.
std::string shell_quoted(const std::vector<std::string>& arguments);

}  // namespace chalk
