#pragma once
// One norm per precision in one slot: gamma and beta of a width's own, because the statistics of what enters a norm change
// with the rounding before it (switchable precision, papers/qat/switchable_precision.h).

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/slots.h"

namespace chalk {

struct PrecisionNorm : Layer {
  std::map<int, std::unique_ptr<Layer>> norms;  // by bits; the float model's own norm is the one of 16
  int bits = 16;

  // Every private norm starts as a copy. Throws Error unless `norm` is a LayerNorm or an RMSNorm.
  PrecisionNorm(std::unique_ptr<Layer> norm, const std::vector<int>& widths);

  // y = x̂ · gamma_b + beta_b
  Tensor forward(const Tensor& x) override { return norms.at(bits)->forward(x); }
  // The 16-bit norm keeps its Hugging Face name; the others are "bits_4.weight", …
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
};

}  // namespace chalk
