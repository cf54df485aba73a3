// add() and mul() with NumPy broadcasting. Equal shapes take the residual kernel: the common case of a transformer.

#include "kernels/broadcast.h"

#include <algorithm>

#include "autograd/ops/common.h"
#include "kernels/residual.h"

namespace chalk {
namespace {

// Output shape and strides of a op b. Axes are aligned at the right; an axis of length 1 stretches.
BroadcastShape broadcast(const char* op, const Tensor& a, const Tensor& b, Shape& y_shape) {
  check(a.rank() <= 4 && b.rank() <= 4, "{}: at most four axes; shapes are {} and {}", op, to_string(a.shape),
        to_string(b.shape));
  check_same_device(op, {a, b});
  BroadcastShape s{};
  int64_t a_step = 1, b_step = 1;
  y_shape.assign(size_t(std::max(a.rank(), b.rank())), 1);
  for (int axis = 3; axis >= 0; --axis) {
    const int64_t from_right = 4 - axis;  // 1 for the last axis
    const int64_t a_dim = from_right <= a.rank() ? a.dim(-from_right) : 1;
    const int64_t b_dim = from_right <= b.rank() ? b.dim(-from_right) : 1;
    check(a_dim == b_dim || a_dim == 1 || b_dim == 1, "{}: shapes {} and {} do not broadcast", op,
          to_string(a.shape), to_string(b.shape));
    s.dim[axis] = a_dim == 1 ? b_dim : a_dim;
    s.a_stride[axis] = a_dim == 1 ? 0 : a_step;
    s.b_stride[axis] = b_dim == 1 ? 0 : b_step;
    a_step *= a_dim;
    b_step *= b_dim;
    if (from_right <= int64_t(y_shape.size())) y_shape[y_shape.size() - size_t(from_right)] = s.dim[axis];
  }
  return s;
}

}  // namespace

struct ResidualNode : Node {
  Tensor a, b;

  const char* name() const override { return "residual"; }
  std::vector<Tensor> inputs() const override { return {a, b}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(a.device(), plain::accumulate<float>, cpu::accumulate, cuda::accumulate);
    if (float* da = grad_or_null(a)) kernel(da, dy.data(), dy.numel());
    if (float* db = grad_or_null(b)) kernel(db, dy.data(), dy.numel());
  }
};

struct AddNode : Node {
  Tensor a, b;
  BroadcastShape shape;

  const char* name() const override { return "add"; }
  std::vector<Tensor> inputs() const override { return {a, b}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(a.device(), plain::add_backward<float>, cpu::add_backward, cuda::add_backward);
    kernel(grad_or_null(a), grad_or_null(b), dy.data(), shape);
  }
};

Tensor add(const Tensor& a, const Tensor& b) {
  Shape y_shape;
  const BroadcastShape shape = broadcast("add", a, b, y_shape);
  Tensor y = Tensor::empty(y_shape, a.device());
  if (a.shape == b.shape) {
    auto* kernel =
        pick(a.device(), plain::residual_forward<float>, cpu::residual_forward, cuda::residual_forward);
    kernel(y.data(), a.data(), b.data(), y.numel());
    if (wants_grad({a, b})) {
      auto node = std::make_shared<ResidualNode>();
      node->a = a, node->b = b;
      set_history(y, node);
    }
    return y;
  }
  auto* kernel = pick(a.device(), plain::add_forward<float>, cpu::add_forward, cuda::add_forward);
  kernel(y.data(), a.data(), b.data(), shape);
  if (wants_grad({a, b})) {
    auto node = std::make_shared<AddNode>();
    node->a = a, node->b = b, node->shape = shape;
    set_history(y, node);
  }
  return y;
}

struct MulNode : Node {
  Tensor a, b;
  BroadcastShape shape;

  const char* name() const override { return "mul"; }
  std::vector<Tensor> inputs() const override { return {a, b}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(a.device(), plain::mul_backward<float>, cpu::mul_backward, cuda::mul_backward);
    kernel(grad_or_null(a), grad_or_null(b), dy.data(), a.data(), b.data(), shape);
  }
};

Tensor mul(const Tensor& a, const Tensor& b) {
  Shape y_shape;
  const BroadcastShape shape = broadcast("mul", a, b, y_shape);
  Tensor y = Tensor::empty(y_shape, a.device());
  auto* kernel = pick(a.device(), plain::mul_forward<float>, cpu::mul_forward, cuda::mul_forward);
  kernel(y.data(), a.data(), b.data(), shape);
  if (wants_grad({a, b})) {
    auto node = std::make_shared<MulNode>();
    node->a = a, node->b = b, node->shape = shape;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
