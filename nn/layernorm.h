#pragma once
// LayerNorm with a learned scale and shift.

#include "autograd/ops.h"
#include "nn/slots.h"

namespace chalk {

struct LayerNorm : Layer {
  Tensor weight, bias;  // (C): start at 1 and 0
  float eps;

  LayerNorm(int64_t C, float eps, Device device)
      : weight(Tensor::full({C}, 1, device)), bias({C}, device), eps(eps) {
    weight.set_requires_grad();
    bias.set_requires_grad();
  }

  Tensor forward(const Tensor& x) override { return layernorm(x, weight, bias, eps); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    visitor(prefix + "weight", weight);
    visitor(prefix + "bias", bias);
  }
};

}  // namespace chalk
