#pragma once
// RMSNorm with a learned scale.

#include "autograd/ops.h"
#include "nn/slots.h"

namespace chalk {

struct RMSNorm : Layer {
  Tensor weight;  // (C): starts at 1
  float eps;

  RMSNorm(int64_t C, float eps, Device device) : weight(Tensor::full({C}, 1, device)), eps(eps) {
    weight.set_requires_grad();
  }

  Tensor forward(const Tensor& x) override { return rmsnorm(x, weight, eps); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    visitor(prefix + "weight", weight);
  }
};

}  // namespace chalk
