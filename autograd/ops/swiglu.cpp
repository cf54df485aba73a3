// Saved for backward: both inputs.

#include "kernels/swiglu.h"

#include "autograd/ops/common.h"

namespace chalk {

struct SwiGLUNode : Node {
  Tensor gate, up;

  const char* name() const override { return "swiglu"; }
  std::vector<Tensor> inputs() const override { return {gate, up}; }
  void backward(const Tensor& dy) override {
    auto* kernel =
        pick(gate.device(), plain::swiglu_backward<float>, cpu::swiglu_backward, cuda::swiglu_backward);
    kernel(grad_or_null(gate), grad_or_null(up), dy.data(), gate.data(), up.data(), gate.numel());
  }
};

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check(gate.shape == up.shape, "swiglu: gate has shape {} but up has {}", to_string(gate.shape),
        to_string(up.shape));
  check_same_device("swiglu", {gate, up});
  Tensor y = Tensor::empty(gate.shape, gate.device());
  auto* kernel = pick(gate.device(), plain::swiglu_forward<float>, cpu::swiglu_forward, cuda::swiglu_forward);
  kernel(y.data(), gate.data(), up.data(), gate.numel());
  if (wants_grad({gate, up})) {
    auto node = std::make_shared<SwiGLUNode>();
    node->gate = gate, node->up = up;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
