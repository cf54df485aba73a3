// Saved for backward: x. The two forms share nothing but their shape.

#include "kernels/gelu.h"

#include "autograd/ops/common.h"

namespace chalk {

struct GeluTanhNode : Node {
  Tensor x;

  const char* name() const override { return "gelu_tanh"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel =
        pick(x.device(), plain::gelu_tanh_backward<float>, cpu::gelu_tanh_backward, cuda::gelu_tanh_backward);
    kernel(x.grad().data(), dy.data(), x.data(), x.numel());
  }
};

Tensor gelu_tanh(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel =
      pick(x.device(), plain::gelu_tanh_forward<float>, cpu::gelu_tanh_forward, cuda::gelu_tanh_forward);
  kernel(y.data(), x.data(), x.numel());
  if (wants_grad({x})) {
    auto node = std::make_shared<GeluTanhNode>();
    node->x = x;
    set_history(y, node);
  }
  return y;
}

struct GeluErfNode : Node {
  Tensor x;

  const char* name() const override { return "gelu_erf"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel =
        pick(x.device(), plain::gelu_erf_backward<float>, cpu::gelu_erf_backward, cuda::gelu_erf_backward);
    kernel(x.grad().data(), dy.data(), x.data(), x.numel());
  }
};

Tensor gelu_erf(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel =
      pick(x.device(), plain::gelu_erf_forward<float>, cpu::gelu_erf_forward, cuda::gelu_erf_forward);
  kernel(y.data(), x.data(), x.numel());
  if (wants_grad({x})) {
    auto node = std::make_shared<GeluErfNode>();
    node->x = x;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
