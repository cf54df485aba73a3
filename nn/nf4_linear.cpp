// The node of the product with a 4-bit weight. Saved for backward: the packed weight; it is widened a second time there.

#include "nn/nf4_linear.h"

#include "autograd/ops/common.h"
#include "kernels/reduce.h"

namespace chalk {

struct NF4LinearNode : Node {
  Tensor x, bias;    // (..., in), (out) or undefined
  NF4Matrix weight;  // (out, in): handles, not a copy

  const char* name() const override { return "nf4_linear"; }
  std::vector<Tensor> inputs() const override { return {x, bias}; }
  void backward(const Tensor& dy) override {
    const NF4Weight view = weight.view();
    const int64_t N = x.numel() / view.in;
    // dx += dy · weight
    if (float* dx = grad_or_null(x)) {
      auto* workspace_bytes = pick(x.device(), plain::nf4_matmul_workspace, cpu::nf4_matmul_workspace,
                                   cuda::nf4_matmul_workspace);
      const Tensor workspace = workspace_of(workspace_bytes(view, N), x.device());
      auto* kernel = pick(x.device(), plain::nf4_matmul_backward<float>, cpu::nf4_matmul_backward,
                          cuda::nf4_matmul_backward);
      kernel(dx, dy.data(), view, N, workspace.data());
    }
    // dbias += Σ_rows dy
    if (float* dbias = bias.defined() ? grad_or_null(bias) : nullptr) {
      auto* kernel = pick(x.device(), plain::sum_rows<float>, cpu::sum_rows, cuda::sum_rows);
      kernel(dbias, dy.data(), N, view.out);
    }
  }
};

Tensor nf4_linear(const Tensor& x, const NF4Matrix& weight, const Tensor& bias) {
  const int64_t in = last_axis("nf4_linear", x), N = x.numel() / in;
  check(weight.columns == in, "nf4_linear: weight is {} x {} but x has {} channels, shape {}", weight.rows,
        weight.columns, in, to_string(x.shape));
  check(!bias.defined() || bias.numel() == weight.rows,
        "nf4_linear: bias has shape {} but weight has {} rows", to_string(bias.shape), weight.rows);
  check(weight.codes->device == x.device(), "nf4_linear: weight is on device {}, x on {}",
        device_name(weight.codes->device), device_name(x.device()));
  check_same_device("nf4_linear", {x, bias});

  const NF4Weight view = weight.view();
  Shape shape = x.shape;
  shape.back() = weight.rows;
  Tensor y = Tensor::empty(shape, x.device());
  auto* workspace_bytes =
      pick(x.device(), plain::nf4_matmul_workspace, cpu::nf4_matmul_workspace, cuda::nf4_matmul_workspace);
  const Tensor workspace = workspace_of(workspace_bytes(view, N), x.device());
  auto* kernel =
      pick(x.device(), plain::nf4_matmul_forward<float>, cpu::nf4_matmul_forward, cuda::nf4_matmul_forward);
  kernel(y.data(), x.data(), view, bias.defined() ? bias.data() : nullptr, N, workspace.data());
  if (wants_grad({x, bias})) {
    auto node = std::make_shared<NF4LinearNode>();
    node->x = x, node->bias = bias, node->weight = weight;
    set_history(y, node);
  }
  return y;
}

NF4Linear::NF4Linear(const Linear& linear, const NF4Options& options)
    : weight(quantize_nf4(linear.weight.to_vector().data(), linear.out_features(), linear.in_features(),
                          options, linear.weight.device())),
      bias(linear.bias) {}

}  // namespace chalk
