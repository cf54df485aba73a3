#pragma once
// A table of vectors, looked up by id.

#include "autograd/ops.h"
#include "nn/module.h"

namespace chalk {

struct Embedding : Module {
  Tensor weight;  // (V, C)

  Embedding(int64_t V, int64_t C, Device device) : weight({V, C}, device) { weight.set_requires_grad(); }

  Tensor forward(const IntTensor& ids) { return embedding(weight, ids); }  // (ids.shape..., C)
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    visitor(prefix + "weight", weight);
  }
};

}  // namespace chalk
