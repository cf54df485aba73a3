// linear() and matmul(): the forward is one product, the backward two more. Saved for backward: both operands, the precision.

#include "kernels/matmul.h"

#include "autograd/ops/common.h"
#include "autograd/precision.h"
#include "kernels/reduce.h"

namespace chalk {
namespace {

// y (M,N) [+]= op(a) · op(b) + bias on y's device, with scratch from the caching allocator.
void run_matmul(Device device, float* y, const float* a, const float* b, const float* bias,
                const MatmulShape& shape) {
  auto* workspace_bytes =
      pick(device, plain::matmul_workspace, cpu::matmul_workspace, cuda::matmul_workspace);
  const Tensor workspace = workspace_of(workspace_bytes(shape), device);
  auto* kernel = pick(device, plain::matmul<float>, cpu::matmul, cuda::matmul);
  kernel(y, a, b, bias, shape, workspace.data());
}

}  // namespace

struct LinearNode : Node {
  Tensor x, weight, bias;  // (..., in), (out, in), (out) or undefined
  Precision precision = Precision::FP32;

  const char* name() const override { return "linear"; }
  std::vector<Tensor> inputs() const override { return {x, weight, bias}; }
  void backward(const Tensor& dy) override {
    const int64_t out = weight.dim(0), in = weight.dim(1), rows = x.numel() / in;
    // dx += dy · weight
    if (float* dx = grad_or_null(x)) {
      run_matmul(x.device(), dx, dy.data(), weight.data(), nullptr,
                 {.M = rows, .N = in, .K = out, .accumulate = true, .precision = precision});
    }
    // dweight += dyᵀ · x
    if (float* dweight = grad_or_null(weight)) {
      run_matmul(
          x.device(), dweight, dy.data(), x.data(), nullptr,
          {.M = out, .N = in, .K = rows, .transpose_a = true, .accumulate = true, .precision = precision});
    }
    // dbias += Σ_rows dy
    if (float* dbias = bias.defined() ? grad_or_null(bias) : nullptr) {
      auto* kernel = pick(x.device(), plain::sum_rows<float>, cpu::sum_rows, cuda::sum_rows);
      kernel(dbias, dy.data(), rows, out);
    }
  }
};

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t in = last_axis("linear", x), rows = x.numel() / in;
  check(weight.rank() == 2 && weight.dim(1) == in,
        "linear: weight has shape {} but x has {} channels, shape {}", to_string(weight.shape), in,
        to_string(x.shape));
  const int64_t out = weight.dim(0);
  check(!bias.defined() || bias.numel() == out, "linear: bias has shape {} but weight has {} rows",
        to_string(bias.shape), out);
  check_same_device("linear", {x, weight, bias});

  Shape shape = x.shape;
  shape.back() = out;
  Tensor y = Tensor::empty(shape, x.device());
  run_matmul(x.device(), y.data(), x.data(), weight.data(), bias.defined() ? bias.data() : nullptr,
             {.M = rows, .N = out, .K = in, .transpose_b = true, .precision = MatmulPrecision::current()});
  if (wants_grad({x, weight, bias})) {
    auto node = std::make_shared<LinearNode>();
    node->x = x, node->weight = weight, node->bias = bias, node->precision = MatmulPrecision::current();
    set_history(y, node);
  }
  return y;
}

struct MatmulNode : Node {
  Tensor a, b;
  bool transpose_a = false, transpose_b = false;
  int64_t batch = 1, M = 0, N = 0, K = 0;
  Precision precision = Precision::FP32;
  int64_t b_stride = 0;  // numbers between the matrices of b; 0 when one matrix serves all

  const char* name() const override { return "matmul"; }
  std::vector<Tensor> inputs() const override { return {a, b}; }
  void backward(const Tensor& dy) override {
    float* da = grad_or_null(a);
    float* db = grad_or_null(b);
    for (int64_t i = 0; i < batch; ++i) {
      const float* a_i = a.data() + i * M * K;
      const float* b_i = b.data() + i * b_stride;
      const float* dy_i = dy.data() + i * M * N;
      // d op(a) += dy · op(b)ᵀ, written into a's own layout
      if (da && !transpose_a) {
        run_matmul(a.device(), da + i * M * K, dy_i, b_i, nullptr,
                   {.M = M,
                    .N = K,
                    .K = N,
                    .transpose_b = !transpose_b,
                    .accumulate = true,
                    .precision = precision});
      } else if (da) {
        run_matmul(a.device(), da + i * M * K, b_i, dy_i, nullptr,
                   {.M = K,
                    .N = M,
                    .K = N,
                    .transpose_a = transpose_b,
                    .transpose_b = true,
                    .accumulate = true,
                    .precision = precision});
      }
      // d op(b) += op(a)ᵀ · dy
      if (db && !transpose_b) {
        run_matmul(a.device(), db + i * b_stride, a_i, dy_i, nullptr,
                   {.M = K,
                    .N = N,
                    .K = M,
                    .transpose_a = !transpose_a,
                    .accumulate = true,
                    .precision = precision});
      } else if (db) {
        run_matmul(a.device(), db + i * b_stride, dy_i, a_i, nullptr,
                   {.M = N,
                    .N = K,
                    .K = M,
                    .transpose_a = true,
                    .transpose_b = transpose_a,
                    .accumulate = true,
                    .precision = precision});
      }
    }
  }
};

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check(a.rank() >= 2 && b.rank() >= 2, "matmul: a has shape {} and b {}, both need two axes",
        to_string(a.shape), to_string(b.shape));
  const int64_t M = a.dim(transpose_a ? -1 : -2), K = a.dim(transpose_a ? -2 : -1);
  const int64_t N = b.dim(transpose_b ? -2 : -1), b_rows = b.dim(transpose_b ? -1 : -2);
  const Shape a_batch(a.shape.begin(), a.shape.end() - 2), b_batch(b.shape.begin(), b.shape.end() - 2);
  check(K == b_rows, "matmul: a gives {} columns but b gives {} rows; shapes {} and {}", K, b_rows,
        to_string(a.shape), to_string(b.shape));
  check(b_batch.empty() || a_batch == b_batch, "matmul: leading axes differ: a has shape {}, b has {}",
        to_string(a.shape), to_string(b.shape));
  check_same_device("matmul", {a, b});

  auto node = std::make_shared<MatmulNode>();
  node->a = a, node->b = b, node->transpose_a = transpose_a, node->transpose_b = transpose_b;
  node->batch = numel(a_batch), node->M = M, node->N = N, node->K = K,
  node->b_stride = b_batch.empty() ? 0 : K * N, node->precision = MatmulPrecision::current();

  Shape shape = a_batch;
  shape.push_back(M);
  shape.push_back(N);
  Tensor y = Tensor::empty(shape, a.device());
  for (int64_t i = 0; i < node->batch; ++i) {
    run_matmul(a.device(), y.data() + i * M * N, a.data() + i * M * K, b.data() + i * node->b_stride, nullptr,
               {.M = M,
                .N = N,
                .K = K,
                .transpose_a = transpose_a,
                .transpose_b = transpose_b,
                .precision = node->precision});
  }
  if (wants_grad({a, b})) set_history(y, node);
  return y;
}

}  // namespace chalk
