// Saved for backward: x, weight and 1/rms of each row.

#include "kernels/rmsnorm.h"

#include "autograd/ops/common.h"

namespace chalk {

struct RMSNormNode : Node {
  Tensor x, weight;  // (..., C), (C)
  Tensor rstd;       // (N)

  const char* name() const override { return "rmsnorm"; }
  std::vector<Tensor> inputs() const override { return {x, weight}; }
  void backward(const Tensor& dy) override {
    const int64_t C = x.dim(-1), N = x.numel() / C;
    auto* kernel =
        pick(x.device(), plain::rmsnorm_backward<float>, cpu::rmsnorm_backward, cuda::rmsnorm_backward);
    kernel(grad_or_null(x), grad_or_null(weight), dy.data(), x.data(), weight.data(), rstd.data(), N, C);
  }
};

Tensor rmsnorm(const Tensor& x, const Tensor& weight, float eps) {
  const int64_t C = last_axis("rmsnorm", x), N = x.numel() / C;
  check_vector("rmsnorm", "weight", weight, x);
  check_same_device("rmsnorm", {x, weight});

  Tensor y = Tensor::empty(x.shape, x.device());
  Tensor rstd = Tensor::empty({N}, x.device());
  auto* kernel = pick(x.device(), plain::rmsnorm_forward<float>, cpu::rmsnorm_forward, cuda::rmsnorm_forward);
  kernel(y.data(), rstd.data(), x.data(), weight.data(), N, C, eps);

  if (wants_grad({x, weight})) {
    auto node = std::make_shared<RMSNormNode>();
    node->x = x, node->weight = weight, node->rstd = rstd;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
