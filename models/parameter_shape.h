#pragma once
// Name and shape of one parameter: what a configuration promises and a checkpoint must hold.
#include <cstdint>
#include <string>
#include <vector>

namespace chalk {

struct ParameterShape {
  std::string name;            // "h.0.attn.c_attn.weight"
  std::vector<int64_t> shape;  // row-major, slowest first: (out, in) for a matrix
};

inline int64_t parameter_count(const std::vector<ParameterShape>& parameters) {
  int64_t total = 0;
  for (const ParameterShape& parameter : parameters) {
    int64_t count = 1;
    for (int64_t dim : parameter.shape) count *= dim;
    total += count;
  }
  return total;
}

}  // namespace chalk
