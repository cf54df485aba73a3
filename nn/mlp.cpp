// The feed-forward layers.

#include "nn/mlp.h"

#include "autograd/check.h"

namespace chalk {

Activation activation_by_name(const std::string& name) {
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return gelu_tanh;
  if (name == "gelu") return gelu_erf;
  if (name == "relu") return relu;
  if (name == "silu" || name == "swish") return silu;
  throw UsageError("unknown activation \"" + name +
                   "\"; known are gelu_new, gelu_pytorch_tanh, gelu, relu, silu");
}

MLP::MLP(const Hooks& hooks, const std::string& block, int64_t C, int64_t F, Activation activation,
         Device device)
    : c_fc(linear_slot(block + "mlp.c_fc", C, F, true, device)),
      c_proj(linear_slot(block + "mlp.c_proj", F, C, true, device)),
      activation(activation),
      hooks(hooks),
      block(block) {}

Tensor MLP::forward(const Tensor& x) {
  Tensor hidden = activation(c_fc.forward(x));  // (..., F)
  hidden = hooks.pass(block, "mlp.hidden", hidden);
  return c_proj.forward(hidden);  // (..., C)
}

void MLP::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  c_fc.visit_parameters(prefix, visitor);
  c_proj.visit_parameters(prefix, visitor);
}

void MLP::visit_slots(const SlotVisitor& visitor) {
  c_fc.visit(visitor);
  c_proj.visit(visitor);
}

GatedMLP::GatedMLP(const Hooks& hooks, const std::string& block, int64_t C, int64_t F, Device device)
    : gate_proj(linear_slot(block + "mlp.gate_proj", C, F, false, device)),
      up_proj(linear_slot(block + "mlp.up_proj", C, F, false, device)),
      down_proj(linear_slot(block + "mlp.down_proj", F, C, false, device)),
      hooks(hooks),
      block(block) {}

Tensor GatedMLP::forward(const Tensor& x) {
  const Tensor gate = gate_proj.forward(x);  // (..., F)
  const Tensor up = up_proj.forward(x);      // (..., F)
  Tensor hidden = swiglu(gate, up);          // silu(gate) · up
  hidden = hooks.pass(block, "mlp.hidden", hidden);
  return down_proj.forward(hidden);  // (..., C)
}

void GatedMLP::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  gate_proj.visit_parameters(prefix, visitor);
  up_proj.visit_parameters(prefix, visitor);
  down_proj.visit_parameters(prefix, visitor);
}

void GatedMLP::visit_slots(const SlotVisitor& visitor) {
  gate_proj.visit(visitor);
  up_proj.visit(visitor);
  down_proj.visit(visitor);
}

}  // namespace chalk
