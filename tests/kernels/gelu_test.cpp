// GELU, both forms: the plain backward against complex step, and known values.

#include "kernels/gelu.h"

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

TEST(GELU, TanhBackwardMatchesComplexStep) {
  const std::vector<double> x = awkward_points();
  const int64_t count = int64_t(x.size());
  auto forward = [=](const auto& in) {
    std::vector<NumberOf<decltype(in)>> y(count);
    plain::gelu_tanh_forward(y.data(), in[0].data(), count);
    return y;
  };
  auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
    plain::gelu_tanh_backward(d[0], dy, in[0].data(), count);
  };
  expect_complex_step({x}, forward, backward);
}

TEST(GELU, ErfBackwardMatchesComplexStep) {
  const std::vector<double> x = awkward_points();
  const int64_t count = int64_t(x.size());
  auto forward = [=](const auto& in) {
    std::vector<NumberOf<decltype(in)>> y(count);
    plain::gelu_erf_forward(y.data(), in[0].data(), count);
    return y;
  };
  auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
    plain::gelu_erf_backward(d[0], dy, in[0].data(), count);
  };
  expect_complex_step({x}, forward, backward);
}

// x·Φ(x) from a table of the normal distribution: Φ(1) = 0.841344746068543, Φ(−2) = 0.0227501319481792.
TEST(GELU, ErfFormEqualsTheNormalDistribution) {
  const std::vector<double> x = {1, -2, 0, 40, -40};
  std::vector<double> y(5);
  plain::gelu_erf_forward(y.data(), x.data(), 5);
  EXPECT_NEAR(y[0], 0.841344746068543, 1e-14);
  EXPECT_NEAR(y[1], -2 * 0.0227501319481792, 1e-14);
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 40);
  EXPECT_EQ(y[4], 0);
}

// The two forms differ by at most about 5e-4, and they do differ: neither may stand in for the other.
TEST(GELU, TanhFormIsCloseToErfFormButNotEqual) {
  double largest = 0;
  for (double x = -6; x <= 6; x += 1.0 / 64) {
    double y_tanh, y_erf;
    plain::gelu_tanh_forward(&y_tanh, &x, 1);
    plain::gelu_erf_forward(&y_erf, &x, 1);
    largest = std::max(largest, std::abs(y_tanh - y_erf));
  }
  EXPECT_LT(largest, 6e-4);
  EXPECT_GT(largest, 1e-4);
}

}  // namespace chalk
