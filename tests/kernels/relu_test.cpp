// ReLU: the plain backward against complex step; what happens at 0 and at NaN.

#include "kernels/relu.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(ReLU, BackwardMatchesComplexStep) {
  const int64_t count = 40;
  auto forward = [=](const auto& in) {
    std::vector<NumberOf<decltype(in)>> y(count);
    plain::relu_forward(y.data(), in[0].data(), count);
    return y;
  };
  auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
    plain::relu_backward(d[0], dy, in[0].data(), count);
  };
  expect_complex_step({normals(count, 1)}, forward, backward);
}

TEST(ReLU, DerivativeAtZeroIsZeroAndNaNStaysNaN) {
  const std::vector<float> x = {0, -2, 3, std::nanf("")}, dy(4, 1);
  std::vector<float> y(4), dx(4);
  plain::relu_forward(y.data(), x.data(), 4);
  plain::relu_backward(dx.data(), dy.data(), x.data(), 3);
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], 0);
  EXPECT_EQ(y[2], 3);
  EXPECT_TRUE(std::isnan(y[3]));
  EXPECT_EQ(dx, (std::vector<float>{0, 0, 1, 0}));
}

}  // namespace chalk
