// Saved for backward: only the seed; the mask is drawn again.

#include "kernels/dropout.h"

#include "autograd/ops/common.h"

namespace chalk {

struct DropoutNode : Node {
  Tensor x;
  float p = 0;
  uint64_t seed = 0;

  const char* name() const override { return "dropout"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel =
        pick(x.device(), plain::dropout_backward<float>, cpu::dropout_backward, cuda::dropout_backward);
    kernel(x.grad().data(), dy.data(), x.numel(), p, seed);
  }
};

Tensor dropout(const Tensor& x, float p, uint64_t seed) {
  check(p >= 0 && p < 1, "dropout: p is {} but must be in [0, 1)", p);
  if (p == 0) return x;
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel = pick(x.device(), plain::dropout_forward<float>, cpu::dropout_forward, cuda::dropout_forward);
  kernel(y.data(), x.data(), x.numel(), p, seed);
  if (wants_grad({x})) {
    auto node = std::make_shared<DropoutNode>();
    node->x = x, node->p = p, node->seed = seed;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
