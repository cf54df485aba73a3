#pragma once
// The seeds of dropout masks: a counter that a training step sets and every dropout call advances, so that a step
// draws the same masks when it is repeated, resumed or recomputed by a checkpoint.

#include <cstdint>

#include "kernels/philox.h"

namespace chalk {

struct DropoutSeeds {
  uint64_t seed = 0;
  uint64_t calls = 0;
  uint64_t next() { return derive_seed(seed, calls++); }
};

inline DropoutSeeds& dropout_seeds() {
  thread_local DropoutSeeds seeds;
  return seeds;
}

}  // namespace chalk
