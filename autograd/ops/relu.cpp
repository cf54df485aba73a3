// Saved for backward: x.

#include "kernels/relu.h"

#include "autograd/ops/common.h"

namespace chalk {

struct ReluNode : Node {
  Tensor x;

  const char* name() const override { return "relu"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(x.device(), plain::relu_backward<float>, cpu::relu_backward, cuda::relu_backward);
    kernel(x.grad().data(), dy.data(), x.data(), x.numel());
  }
};

Tensor relu(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel = pick(x.device(), plain::relu_forward<float>, cpu::relu_forward, cuda::relu_forward);
  kernel(y.data(), x.data(), x.numel());
  if (wants_grad({x})) {
    auto node = std::make_shared<ReluNode>();
    node->x = x;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
