// Saved for backward: the output, detached (a node must not hold its own output's history).

#include "kernels/softmax.h"

#include "autograd/ops/common.h"

namespace chalk {

struct SoftmaxNode : Node {
  Tensor x, y;  // (..., C); y without history

  const char* name() const override { return "softmax"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    const int64_t C = x.dim(-1), N = x.numel() / C;
    auto* kernel =
        pick(x.device(), plain::softmax_backward<float>, cpu::softmax_backward, cuda::softmax_backward);
    kernel(x.grad().data(), dy.data(), y.data(), N, C);
  }
};

Tensor softmax(const Tensor& x) {
  const int64_t C = last_axis("softmax", x), N = x.numel() / C;
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel = pick(x.device(), plain::softmax_forward<float>, cpu::softmax_forward, cuda::softmax_forward);
  kernel(y.data(), x.data(), N, C);
  if (wants_grad({x})) {
    auto node = std::make_shared<SoftmaxNode>();
    node->x = x, node->y = y.detach();
    set_history(y, node);
  }
  return y;
}

struct LogSoftmaxNode : Node {
  Tensor x, y;  // (..., C); y without history

  const char* name() const override { return "log_softmax"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    const int64_t C = x.dim(-1), N = x.numel() / C;
    auto* kernel = pick(x.device(), plain::log_softmax_backward<float>, cpu::log_softmax_backward,
                        cuda::log_softmax_backward);
    kernel(x.grad().data(), dy.data(), y.data(), N, C);
  }
};

Tensor log_softmax(const Tensor& x) {
  const int64_t C = last_axis("log_softmax", x), N = x.numel() / C;
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel = pick(x.device(), plain::log_softmax_forward<float>, cpu::log_softmax_forward,
                      cuda::log_softmax_forward);
  kernel(y.data(), x.data(), N, C);
  if (wants_grad({x})) {
    auto node = std::make_shared<LogSoftmaxNode>();
    node->x = x, node->y = y.detach();
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
