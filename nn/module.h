#pragma once
// A module owns parameters and nothing else. Parameters are found by walking: visit_parameters() calls back with each
// one's name, in declaration order; names are the Hugging Face ones, because children are visited under their names.

#include <functional>
#include <string>
#include <vector>

#include "autograd/tensor.h"

namespace chalk {

struct Slot;

struct NamedTensor {
  std::string name;  // "h.3.attn.c_attn.weight"
  Tensor tensor;     // a handle: writing its numbers writes the parameter
};

using ParameterVisitor = std::function<void(const std::string& name, Tensor& parameter)>;
using SlotVisitor = std::function<void(Slot& slot)>;

struct Module {
  virtual ~Module() = default;

  // Calls visitor(prefix + name, parameter) for every parameter below.
  virtual void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) = 0;
  // Calls visitor(slot) for every slot below (nn/slots.h), outer slots before the slots inside them.
  virtual void visit_slots(const SlotVisitor&) {}

  // Every parameter once: a tensor that is used under two names (a tied head) is listed under the first.
  std::vector<NamedTensor> parameters(const std::string& prefix = "");
  int64_t parameter_count();
  // Freezes or unfreezes everything below. A frozen parameter has no history, so optimisers and backward skip it.
  // Do it before an optimiser is made: parameters() hands out handles, and unfreezing starts a new history.
  void set_requires_grad(bool on);
  void zero_grad();
};

}  // namespace chalk
