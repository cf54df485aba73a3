#pragma once
// A fully connected layer whose frozen weight is stored in 4 bits (nn/nf4.h): y = x · weightᵀ + bias.

#include "nn/linear.h"
#include "nn/nf4.h"
#include "nn/quantized_projection.h"

namespace chalk {

// y (..., out) = x (..., in) · weightᵀ + bias. Gradients go to x and to bias, never to the weight.
Tensor nf4_linear(const Tensor& x, const NF4Matrix& weight, const Tensor& bias = {});

struct NF4Linear : QuantizedProjection {
  NF4Matrix weight;  // (out, in)
  Tensor bias;       // (out), or undefined; kept in float

  NF4Linear(const Linear& linear, const NF4Options& options);

  Tensor forward(const Tensor& x) override { return nf4_linear(x, weight, bias); }
  int64_t in_features() const override { return weight.columns; }
  int64_t out_features() const override { return weight.rows; }
  StorageCost storage() const override {  // scales: all that is not codes
    const double codes = 4.0 * double(weight.count());
    return {.weights = weight.count(), .code_bits = codes, .scale_bits = 8.0 * double(resident_bytes()) - codes};
  }
  int64_t resident_bytes() const override { return weight.stored_bytes(); }
  std::vector<float> dequantized() const override { return dequantize(weight); }
  // The packed weight is no parameter: it has no gradient, and no optimiser may see it.
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    if (bias.defined()) visitor(prefix + "bias", bias);
  }
};

}  // namespace chalk
