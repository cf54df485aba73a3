// Saved for backward: q, k, v, the output and one log-sum-exp per query and head; never a T × T matrix.

#include "kernels/attention.h"

#include <cmath>

#include "autograd/ops/common.h"

namespace chalk {
namespace {

// Checks q (B, Tq, H·D), k and v (B, rows, K·D) against the options and each other.
AttentionShape shape_of(const Tensor& q, const Tensor& k, const Tensor& v, int64_t length,
                        const AttentionOptions& options) {
  check(q.rank() == 3 && k.rank() == 3 && k.shape == v.shape && q.dim(0) == k.dim(0),
        "attention: q, k, v have shapes {}, {}, {}; expected (B, Tq, H·D), (B, Tk, K·D) twice",
        to_string(q.shape), to_string(k.shape), to_string(v.shape));
  const int64_t H = options.heads, K = options.kv_heads;
  check(H > 0 && K > 0 && H % K == 0, "attention: {} query heads cannot share {} key/value heads", H, K);
  check(q.dim(2) > 0 && q.dim(2) % H == 0, "attention: q has {} channels, not a multiple of {} heads",
        q.dim(2), H);
  const int64_t D = q.dim(2) / H;
  check(k.dim(2) == K * D, "attention: k has {} channels but {} key/value heads of {} need {}", k.dim(2), K,
        D, K * D);
  check(length >= 1 && length <= k.dim(1), "attention: {} keys asked of a cache of {}", length, k.dim(1));
  check_same_device("attention", {q, k, v});
  const float scale = options.scale ? *options.scale : float(1 / std::sqrt(double(D)));
  return {.B = q.dim(0),
          .Tq = q.dim(1),
          .Tk = length,
          .H = H,
          .K = K,
          .D = D,
          .scale = scale,
          .causal = options.causal,
          .window = options.window,
          .kv_capacity = k.dim(1)};
}

}  // namespace

struct AttentionNode : Node {
  Tensor q, k, v;  // (B, Tq, H·D), (B, Tk, K·D)
  Tensor y;        // (B, Tq, H·D), without history
  Tensor lse;      // (B, H, Tq)
  AttentionShape shape;

  const char* name() const override { return "attention"; }
  std::vector<Tensor> inputs() const override { return {q, k, v}; }
  void backward(const Tensor& dy) override {
    const Tensor workspace = workspace_of(attention_backward_workspace(shape), q.device());
    auto* kernel =
        pick(q.device(), plain::attention_backward<float>, cpu::attention_backward, cuda::attention_backward);
    kernel(grad_or_null(q), grad_or_null(k), grad_or_null(v), dy.data(), q.data(), k.data(), v.data(),
           y.data(), lse.data(), workspace.data(), shape);
  }
};

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const AttentionShape shape = shape_of(q, k, v, k.rank() == 3 ? k.dim(1) : 0, options);
  Tensor y = Tensor::empty(q.shape, q.device());
  Tensor lse = Tensor::empty({shape.B, shape.H, shape.Tq}, q.device());
  auto* kernel =
      pick(q.device(), plain::attention_forward<float>, cpu::attention_forward, cuda::attention_forward);
  kernel(y.data(), lse.data(), q.data(), k.data(), v.data(), shape);
  if (wants_grad({q, k, v})) {
    auto node = std::make_shared<AttentionNode>();
    node->q = q, node->k = k, node->v = v, node->y = y.detach(), node->lse = lse, node->shape = shape;
    set_history(y, node);
  }
  return y;
}

Tensor attention_cached(const Tensor& q, const Tensor& k, const Tensor& v, int64_t length,
                        const AttentionOptions& options) {
  const AttentionShape shape = shape_of(q, k, v, length, options);
  Tensor y = Tensor::empty(q.shape, q.device());
  Tensor lse = Tensor::empty({shape.B, shape.H, shape.Tq}, q.device());
  auto* kernel =
      pick(q.device(), plain::attention_forward<float>, cpu::attention_forward, cuda::attention_forward);
  kernel(y.data(), lse.data(), q.data(), k.data(), v.data(), shape);
  return y;
}

}  // namespace chalk
