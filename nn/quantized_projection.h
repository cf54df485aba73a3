#pragma once
// What every projection with a compressed weight can tell about itself, so that one table compares them all.

#include <vector>

#include "nn/quantizer.h"
#include "nn/slots.h"

namespace chalk {

// The bias, where there is one, is an ordinary parameter and not counted here.
struct QuantizedProjection : Projection {
  virtual StorageCost storage() const = 0;             // of the weight, as its file format stores it
  virtual int64_t resident_bytes() const = 0;          // what the weight really occupies in memory
  virtual std::vector<float> dequantized() const = 0;  // (out, in), as forward() uses it
};

}  // namespace chalk
