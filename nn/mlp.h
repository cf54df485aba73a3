#pragma once
// The two feed-forward layers: GPT-2's (two products around an activation) and LLaMA's (three around a gate).
// Each is a Layer, so that a whole MLP is a slot; each holds its products in slots of their own.

#include "nn/hooks.h"
#include "nn/linear.h"

namespace chalk {

// An activation function by its Hugging Face name ("gelu_new", "gelu", "relu", "silu", ...).
using Activation = Tensor (*)(const Tensor& x);
Activation activation_by_name(const std::string& name);  // throws UsageError on an unknown name

// y = c_proj(act(c_fc(x))): GPT-2's MLP, F = 4C.
struct MLP : Layer {
  Slot c_fc, c_proj;
  Activation activation;
  const Hooks& hooks;
  std::string block;  // the hooks' prefix, "h.3."

  MLP(const Hooks& hooks, const std::string& block, int64_t C, int64_t F, Activation activation,
      Device device);
  Tensor forward(const Tensor& x) override;  // (..., C) -> (..., C)
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
  void visit_slots(const SlotVisitor& visitor) override;
};

// y = down_proj(silu(gate_proj(x)) · up_proj(x)): LLaMA's MLP (SwiGLU, Shazeer 2020).
struct GatedMLP : Layer {
  Slot gate_proj, up_proj, down_proj;
  const Hooks& hooks;
  std::string block;  // "layers.3."

  GatedMLP(const Hooks& hooks, const std::string& block, int64_t C, int64_t F, Device device);
  Tensor forward(const Tensor& x) override;  // (..., C) -> (..., C)
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
  void visit_slots(const SlotVisitor& visitor) override;
};

}  // namespace chalk
