// Saved for backward: x, weight and the two numbers per row that normalised it.

#include "kernels/layernorm.h"

#include "autograd/ops/common.h"

namespace chalk {

struct LayerNormNode : Node {
  Tensor x, weight, bias;  // (..., C), (C), (C)
  Tensor mean, rstd;       // (N)

  const char* name() const override { return "layernorm"; }
  std::vector<Tensor> inputs() const override { return {x, weight, bias}; }
  void backward(const Tensor& dy) override {
    const int64_t C = x.dim(-1), N = x.numel() / C;
    auto* kernel =
        pick(x.device(), plain::layernorm_backward<float>, cpu::layernorm_backward, cuda::layernorm_backward);
    kernel(grad_or_null(x), grad_or_null(weight), grad_or_null(bias), dy.data(), x.data(), weight.data(),
           mean.data(), rstd.data(), N, C);
  }
};

Tensor layernorm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) {
  const int64_t C = last_axis("layernorm", x), N = x.numel() / C;
  check_vector("layernorm", "weight", weight, x);
  check_vector("layernorm", "bias", bias, x);
  check_same_device("layernorm", {x, weight, bias});

  Tensor y = Tensor::empty(x.shape, x.device());
  Tensor mean = Tensor::empty({N}, x.device());
  Tensor rstd = Tensor::empty({N}, x.device());
  auto* kernel =
      pick(x.device(), plain::layernorm_forward<float>, cpu::layernorm_forward, cuda::layernorm_forward);
  kernel(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(), N, C, eps);

  if (wants_grad({x, weight, bias})) {
    auto node = std::make_shared<LayerNormNode>();
    node->x = x, node->weight = weight, node->bias = bias, node->mean = mean, node->rstd = rstd;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
