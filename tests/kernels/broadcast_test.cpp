// Broadcast sum and product: the plain backwards against complex step over stretched axes.

#include "kernels/broadcast.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

// Axis lengths of a and b; y has the longer of each pair.
struct Pair {
  int64_t a[4], b[4];
};
const Pair pairs[] = {
    {{1, 1, 1, 1}, {1, 1, 1, 1}}, {{2, 3, 2, 5}, {2, 3, 2, 5}},
    {{1, 1, 4, 3}, {1, 1, 1, 3}},  // a row over rows
    {{1, 1, 4, 1}, {1, 1, 1, 3}},  // both stretched
    {{1, 1, 1, 1}, {1, 2, 3, 2}}, {{2, 1, 3, 1}, {1, 4, 1, 2}},
};

BroadcastShape broadcast_shape(const Pair& p) {
  BroadcastShape s;
  int64_t a_stride = 1, b_stride = 1;
  for (int axis = 3; axis >= 0; --axis) {
    s.dim[axis] = std::max(p.a[axis], p.b[axis]);
    s.a_stride[axis] = p.a[axis] == 1 ? 0 : a_stride;
    s.b_stride[axis] = p.b[axis] == 1 ? 0 : b_stride;
    a_stride *= p.a[axis];
    b_stride *= p.b[axis];
  }
  return s;
}

int64_t product(const int64_t* dim) {
  return dim[0] * dim[1] * dim[2] * dim[3];
}

TEST(Broadcast, AddBackwardMatchesComplexStep) {
  for (const Pair& p : pairs) {
    const BroadcastShape shape = broadcast_shape(p);
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(product(shape.dim));
      plain::add_forward(y.data(), in[0].data(), in[1].data(), shape);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs&) {
      plain::add_backward(d[0], d[1], dy, shape);
    };
    expect_complex_step({normals(product(p.a), 1), normals(product(p.b), 2)}, forward, backward,
                        Nulls::Allowed);
  }
}

TEST(Broadcast, MulBackwardMatchesComplexStep) {
  for (const Pair& p : pairs) {
    const BroadcastShape shape = broadcast_shape(p);
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(product(shape.dim));
      plain::mul_forward(y.data(), in[0].data(), in[1].data(), shape);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
      plain::mul_backward(d[0], d[1], dy, in[0].data(), in[1].data(), shape);
    };
    expect_complex_step({normals(product(p.a), 1), normals(product(p.b), 2)}, forward, backward,
                        Nulls::Allowed);
  }
}

TEST(Broadcast, AddsARowToEveryRow) {
  const std::vector<float> a = {1, 2, 3, 4}, row = {10, 20};
  std::vector<float> y(4);
  plain::add_forward(y.data(), a.data(), row.data(), broadcast_shape({{1, 1, 2, 2}, {1, 1, 1, 2}}));
  EXPECT_EQ(y, (std::vector<float>{11, 22, 13, 24}));
}

}  // namespace chalk
