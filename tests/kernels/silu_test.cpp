// SiLU: the plain backward against complex step, and its limits.

#include "kernels/silu.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

// From the flat tails to the bend, zero included.
std::vector<double> awkward_points() {
  std::vector<double> x = {0, 1e-8, -1e-8, 1, -1, 3, -3, 6, -6, 12, -12, 30, -30};
  for (double v : normals(20, 1, 2)) x.push_back(v);
  return x;
}

TEST(SiLU, BackwardMatchesComplexStep) {
  const std::vector<double> x = awkward_points();
  const int64_t count = int64_t(x.size());
  auto forward = [=](const auto& in) {
    std::vector<NumberOf<decltype(in)>> y(count);
    plain::silu_forward(y.data(), in[0].data(), count);
    return y;
  };
  auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
    plain::silu_backward(d[0], dy, in[0].data(), count);
  };
  expect_complex_step({x}, forward, backward);
}

TEST(SiLU, HugeInputsGiveNoNaN) {
  const std::vector<float> x = {1e4f, -1e4f, 3e38f, -3e38f}, dy(4, 1);
  std::vector<float> y(4), dx(4);
  plain::silu_forward(y.data(), x.data(), 4);
  plain::silu_backward(dx.data(), dy.data(), x.data(), 4);
  EXPECT_EQ(y, (std::vector<float>{1e4f, 0, 3e38f, 0}));
  EXPECT_EQ(dx, (std::vector<float>{1, 0, 1, 0}));
}

}  // namespace chalk
