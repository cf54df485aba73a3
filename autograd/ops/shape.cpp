// reshape() shares the numbers; slice(), concat() and transpose() copy them. Nothing is saved but places.

#include <algorithm>

#include "autograd/ops/common.h"
#include "kernels/columns.h"
#include "kernels/residual.h"
#include "kernels/transpose.h"

namespace chalk {
namespace {

// x seen as a matrix for work along `axis`: the axes before it are rows, it and the axes after it are columns.
struct Folded {
  int64_t rows, unit;  // unit = numbers per step along the axis
};

Folded fold(const char* op, const Tensor& x, int64_t& axis) {
  if (axis < 0) axis += x.rank();
  check(axis >= 0 && axis < x.rank(), "{}: axis {} of shape {}", op, axis, to_string(x.shape));
  Folded f{1, 1};
  for (int64_t i = 0; i < axis; ++i) f.rows *= x.dim(i);
  for (int64_t i = axis + 1; i < x.rank(); ++i) f.unit *= x.dim(i);
  return f;
}

}  // namespace

struct ReshapeNode : Node {
  Tensor x;

  const char* name() const override { return "reshape"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(x.device(), plain::accumulate<float>, cpu::accumulate, cuda::accumulate);
    kernel(x.grad().data(), dy.data(), dy.numel());
  }
};

Tensor reshape(const Tensor& x, Shape shape) {
  check(numel(shape) == x.numel(), "reshape: {} numbers of shape {} do not fit shape {}", x.numel(),
        to_string(x.shape), to_string(shape));
  Tensor y = x.detach();
  y.shape = std::move(shape);
  if (wants_grad({x})) {
    auto node = std::make_shared<ReshapeNode>();
    node->x = x;
    set_history(y, node);
  }
  return y;
}

struct TransposeNode : Node {
  Tensor x;  // (..., M, N)

  const char* name() const override { return "transpose"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    const int64_t M = x.dim(-2), N = x.dim(-1);
    auto* kernel =
        pick(x.device(), plain::transpose_backward<float>, cpu::transpose_backward, cuda::transpose_backward);
    kernel(x.grad().data(), dy.data(), x.numel() / (M * N), M, N);
  }
};

Tensor transpose(const Tensor& x) {
  check(x.rank() >= 2 && x.numel() > 0, "transpose: x has shape {}", to_string(x.shape));
  const int64_t M = x.dim(-2), N = x.dim(-1);
  Shape shape = x.shape;
  std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  Tensor y = Tensor::empty(shape, x.device());
  auto* kernel =
      pick(x.device(), plain::transpose_forward<float>, cpu::transpose_forward, cuda::transpose_forward);
  kernel(y.data(), x.data(), x.numel() / (M * N), M, N);
  if (wants_grad({x})) {
    auto node = std::make_shared<TransposeNode>();
    node->x = x;
    set_history(y, node);
  }
  return y;
}

struct SliceNode : Node {
  Tensor x;
  int64_t rows = 0, width = 0, start = 0, length = 0;  // of the folded matrix, in numbers

  const char* name() const override { return "slice"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(x.device(), plain::columns_add<float>, cpu::columns_add, cuda::columns_add);
    kernel(x.grad().data(), width, start, dy.data(), length, 0, rows, length);
  }
};

Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t length) {
  const Folded f = fold("slice", x, axis);
  check(start >= 0 && length >= 0 && start <= x.dim(axis) && length <= x.dim(axis) - start,
        "slice: {} from {} on, along axis {} of shape {}", length, start, axis, to_string(x.shape));
  Shape shape = x.shape;
  shape[size_t(axis)] = length;
  auto node = std::make_shared<SliceNode>();
  node->x = x, node->rows = f.rows, node->width = x.dim(axis) * f.unit;
  node->start = start * f.unit, node->length = length * f.unit;

  Tensor y = Tensor::empty(shape, x.device());
  auto* kernel = pick(x.device(), plain::columns_copy<float>, cpu::columns_copy, cuda::columns_copy);
  kernel(y.data(), node->length, 0, x.data(), node->width, node->start, node->rows, node->length);
  if (wants_grad({x})) set_history(y, node);
  return y;
}

struct ConcatNode : Node {
  Tensor a, b;
  int64_t rows = 0, a_width = 0, b_width = 0;

  const char* name() const override { return "concat"; }
  std::vector<Tensor> inputs() const override { return {a, b}; }
  void backward(const Tensor& dy) override {
    const int64_t width = a_width + b_width;
    auto* kernel = pick(a.device(), plain::columns_add<float>, cpu::columns_add, cuda::columns_add);
    if (float* da = grad_or_null(a)) kernel(da, a_width, 0, dy.data(), width, 0, rows, a_width);
    if (float* db = grad_or_null(b)) kernel(db, b_width, 0, dy.data(), width, a_width, rows, b_width);
  }
};

Tensor concat(const Tensor& a, const Tensor& b, int64_t axis) {
  const Folded f = fold("concat", a, axis);
  Shape shape = a.shape, b_shape = b.shape;
  check(b.rank() == a.rank(), "concat: shapes {} and {}", to_string(a.shape), to_string(b.shape));
  shape[size_t(axis)] += b.dim(axis);
  b_shape[size_t(axis)] = a.dim(axis);
  check(b_shape == a.shape, "concat along axis {}: shapes {} and {}", axis, to_string(a.shape),
        to_string(b.shape));
  check_same_device("concat", {a, b});
  auto node = std::make_shared<ConcatNode>();
  node->a = a, node->b = b, node->rows = f.rows, node->a_width = a.dim(axis) * f.unit;
  node->b_width = b.dim(axis) * f.unit;

  const int64_t width = node->a_width + node->b_width;
  Tensor y = Tensor::empty(shape, a.device());
  auto* kernel = pick(a.device(), plain::columns_copy<float>, cpu::columns_copy, cuda::columns_copy);
  kernel(y.data(), width, 0, a.data(), node->a_width, 0, node->rows, node->a_width);
  kernel(y.data(), width, node->a_width, b.data(), node->b_width, 0, node->rows, node->b_width);
  if (wants_grad({a, b})) set_history(y, node);
  return y;
}

}  // namespace chalk
