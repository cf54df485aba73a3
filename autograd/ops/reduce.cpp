// sum(), mean(), scale(). Saved for backward: only the factor.

#include "kernels/reduce.h"

#include "autograd/ops/common.h"
#include "kernels/residual.h"

namespace chalk {

struct SumNode : Node {
  Tensor x;
  float factor = 1;  // 1/count for mean()

  const char* name() const override { return factor == 1 ? "sum" : "mean"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(x.device(), plain::sum_backward<float>, cpu::sum_backward, cuda::sum_backward);
    kernel(x.grad().data(), dy.data(), factor, x.numel());
  }
};

static Tensor scaled_sum(const Tensor& x, float factor) {
  Tensor y = Tensor::empty({}, x.device());
  auto* sum_kernel = pick(x.device(), plain::sum<float>, cpu::sum, cuda::sum);
  sum_kernel(y.data(), x.data(), x.numel());
  auto* scale_kernel = pick(x.device(), plain::scale<float>, cpu::scale, cuda::scale);
  if (factor != 1) scale_kernel(y.data(), y.data(), factor, 1);
  if (wants_grad({x})) {
    auto node = std::make_shared<SumNode>();
    node->x = x, node->factor = factor;
    set_history(y, node);
  }
  return y;
}

Tensor sum(const Tensor& x) {
  return scaled_sum(x, 1);
}

Tensor mean(const Tensor& x) {
  check(x.numel() > 0, "mean: x has shape {}, no numbers", to_string(x.shape));
  return scaled_sum(x, 1.0f / float(x.numel()));
}

struct ScaleNode : Node {
  Tensor x;
  float factor = 1;

  const char* name() const override { return "scale"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {  // dx += factor · dy
    const Tensor scaled = chalk::scale(dy, factor);
    auto* kernel = pick(x.device(), plain::accumulate<float>, cpu::accumulate, cuda::accumulate);
    kernel(x.grad().data(), scaled.data(), x.numel());
  }
};

Tensor scale(const Tensor& x, float factor) {
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel = pick(x.device(), plain::scale<float>, cpu::scale, cuda::scale);
  kernel(y.data(), x.data(), factor, x.numel());
  if (wants_grad({x})) {
    auto node = std::make_shared<ScaleNode>();
    node->x = x, node->factor = factor;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
