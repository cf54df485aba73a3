// Saved for backward: x.

#include "kernels/silu.h"

#include "autograd/ops/common.h"

namespace chalk {

struct SiluNode : Node {
  Tensor x;

  const char* name() const override { return "silu"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(x.device(), plain::silu_backward<float>, cpu::silu_backward, cuda::silu_backward);
    kernel(x.grad().data(), dy.data(), x.data(), x.numel());
  }
};

Tensor silu(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel = pick(x.device(), plain::silu_forward<float>, cpu::silu_forward, cuda::silu_forward);
  kernel(y.data(), x.data(), x.numel());
  if (wants_grad({x})) {
    auto node = std::make_shared<SiluNode>();
    node->x = x;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
