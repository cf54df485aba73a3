#pragma once
// The fully connected layer: y = x · weightᵀ + bias.

#include "autograd/ops.h"
#include "nn/slots.h"

namespace chalk {

struct Linear : Projection {
  Tensor weight;  // (out, in)
  Tensor bias;    // (out), or undefined

  Linear(int64_t in, int64_t out, bool has_bias, Device device);
  explicit Linear(Tensor weight) : weight(std::move(weight)) {}  // shares a parameter: the tied head

  Tensor forward(const Tensor& x) override { return linear(x, weight, bias); }
  int64_t in_features() const override { return weight.dim(1); }
  int64_t out_features() const override { return weight.dim(0); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    visitor(prefix + "weight", weight);
    if (bias.defined()) visitor(prefix + "bias", bias);
  }
};

inline Linear::Linear(int64_t in, int64_t out, bool has_bias, Device device) : weight({out, in}, device) {
  weight.set_requires_grad();
  if (!has_bias) return;
  bias = Tensor({out}, device);
  bias.set_requires_grad();
}

// A slot that starts with a Linear in it.
inline Slot linear_slot(std::string name, int64_t in, int64_t out, bool has_bias, Device device) {
  return {std::move(name), Slot::Kind::Projection, std::make_unique<Linear>(in, out, has_bias, device)};
}

}  // namespace chalk
