// RMSNorm: the plain backward against complex step, and its invariances.

#include "kernels/rmsnorm.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

struct Rows {
  int64_t N, C;
};
const Rows row_shapes[] = {{1, 1}, {3, 1}, {1, 2}, {2, 7}, {4, 33}};

TEST(RMSNorm, BackwardMatchesComplexStep) {
  for (auto [N, C] : row_shapes) {
    auto forward = [N = N, C = C](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(N * C), rstd(N);
      plain::rmsnorm_forward(y.data(), rstd.data(), in[0].data(), in[1].data(), N, C, 1e-5f);
      return y;
    };
    auto backward = [N = N, C = C](const Gradients& d, const double* dy, const Inputs& in) {
      std::vector<double> y(N * C), rstd(N);
      plain::rmsnorm_forward(y.data(), rstd.data(), in[0].data(), in[1].data(), N, C, 1e-5f);
      plain::rmsnorm_backward(d[0], d[1], dy, in[0].data(), in[1].data(), rstd.data(), N, C);
    };
    expect_complex_step({normals(N * C, 1), normals(C, 2)}, forward, backward, Nulls::Allowed);
  }
}

TEST(RMSNorm, ScaleOfTheInputDoesNotMatter) {
  const int64_t N = 2, C = 48;
  const std::vector<double> x = normals(N * C, 1), weight = normals(C, 2);
  std::vector<double> scaled = x, y(N * C), y_scaled(N * C), rstd(N);
  for (double& v : scaled) v *= 37.5;
  plain::rmsnorm_forward(y.data(), rstd.data(), x.data(), weight.data(), N, C, 0.0f);
  plain::rmsnorm_forward(y_scaled.data(), rstd.data(), scaled.data(), weight.data(), N, C, 0.0f);
  for (int64_t i = 0; i < N * C; ++i) EXPECT_NEAR(y_scaled[i], y[i], 1e-14 * max_abs(y));
}

TEST(RMSNorm, OutputHasTheRootMeanSquareOfTheWeight) {
  const int64_t C = 32;
  const std::vector<double> x = normals(C, 1), weight(C, -0.75);
  std::vector<double> y(C), rstd(1);
  plain::rmsnorm_forward(y.data(), rstd.data(), x.data(), weight.data(), 1, C, 0.0f);
  double square_sum = 0;
  for (double v : y) square_sum += v * v;
  EXPECT_NEAR(std::sqrt(square_sum / C), 0.75, 1e-14);
}

}  // namespace chalk
