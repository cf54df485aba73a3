#pragma once
// A ladder with its inputs on the device, the plain kernel's answer, and how far from it a float kernel may be.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {

// Numbers on the device (cusim's or a GPU's).
struct DeviceFloats {
  explicit DeviceFloats(const std::vector<float>& host);
  ~DeviceFloats();
  DeviceFloats(const DeviceFloats&) = delete;
  void upload(const std::vector<float>& host);
  std::vector<float> download() const;

  float* data;
  size_t count;
};

struct Rung {
  std::string file, idea;
  std::function<void()> run;
  double coarser = 1;      // by this factor the rung may be further off: its operands are rounded
  bool needs_gpu = false;  // cusim cannot run it
};

struct Ladder {
  std::string size;                  // "M 64, N 64, K 64"
  double operations = 0, bytes = 0;  // floating-point operations; bytes that must be moved at least
  std::vector<std::unique_ptr<DeviceFloats>> inputs;
  std::unique_ptr<DeviceFloats> y;
  std::vector<double> expected,
      tolerance;            // of each number of y: the plain kernel's in double, and |error| allowed
  std::vector<Rung> rungs;  // the last one is the library's own kernel
};

// name: matmul, softmax, layernorm or attention. size: of the matrices' sides, of the rows, of the sequence; rows: of softmax
// and layernorm. answer: false leaves `expected` empty (the plain kernel takes minutes at the sizes of a GPU).
// Throws UsageError for sizes that a rung cannot take.
Ladder make_ladder(const std::string& name, int size, int rows, uint64_t seed, bool answer = true);

// Runs one rung on y filled with NaN. error: the largest |error| / tolerance, at most 1 if the rung is right, ∞ when a
// number is NaN; 0 without an answer.
struct Climb {
  Cost cost;
  double error = 0;
};
Climb climb(Ladder& ladder, const Rung& rung);

}  // namespace chalk::ladder
