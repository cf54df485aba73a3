#pragma once
// What every projection with a compressed weight can tell about itself, so that one table compares them all.

#include <vector>

#include "nn/quantizer.h"
#include "nn/slots.h"

namespace chalk {

struct QuantizedProjection : Projection {
  virtual StorageCost storage() const = 0;     // of the weight (and its bias, if there is one)
  virtual int64_t resident_bytes() const = 0;  // what the weight really occupies in memory, bias included
  virtual std::vector<float> dequantized() const = 0;  // (out, in), as forward() uses it
};

}  // namespace chalk
