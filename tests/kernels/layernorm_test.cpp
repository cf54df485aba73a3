// LayerNorm: the plain backward against complex step, and what normalising means.

#include "kernels/layernorm.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

struct Rows {
  int64_t N, C;
};
const Rows row_shapes[] = {{1, 1}, {3, 1}, {1, 2}, {2, 7}, {4, 33}};

TEST(LayerNorm, BackwardMatchesComplexStep) {
  for (auto [N, C] : row_shapes) {
    auto forward = [N = N, C = C](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(N * C), mean(N), rstd(N);
      plain::layernorm_forward(y.data(), mean.data(), rstd.data(), in[0].data(), in[1].data(), in[2].data(),
                               N, C, 1e-5f);
      return y;
    };
    auto backward = [N = N, C = C](const Gradients& d, const double* dy, const Inputs& in) {
      std::vector<double> y(N * C), mean(N), rstd(N);
      plain::layernorm_forward(y.data(), mean.data(), rstd.data(), in[0].data(), in[1].data(), in[2].data(),
                               N, C, 1e-5f);
      plain::layernorm_backward(d[0], d[1], d[2], dy, in[0].data(), in[1].data(), mean.data(), rstd.data(), N,
                                C);
    };
    expect_complex_step({normals(N * C, 1), normals(C, 2), normals(C, 3)}, forward, backward, Nulls::Allowed);
  }
}

TEST(LayerNorm, RowsGetMeanZeroAndVarianceOne) {
  const int64_t N = 3, C = 64;
  const std::vector<double> x = normals(N * C, 1, 5), weight(C, 1), bias(C, 0);
  std::vector<double> y(N * C), mean(N), rstd(N);
  plain::layernorm_forward(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(), N, C,
                           0.0f);
  for (int64_t n = 0; n < N; ++n) {
    double sum = 0, square_sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += y[n * C + c];
    for (int64_t c = 0; c < C; ++c) square_sum += y[n * C + c] * y[n * C + c];
    EXPECT_NEAR(sum / C, 0, 1e-14);
    EXPECT_NEAR(square_sum / C, 1, 1e-14);
  }
}

TEST(LayerNorm, ConstantRowGivesTheBias) {
  const int64_t C = 5;
  const std::vector<float> x(C, 3), weight(C, 2), bias = {1, 2, 3, 4, 5};
  std::vector<float> y(C), mean(1), rstd(1);
  plain::layernorm_forward(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(), 1, C,
                           1e-5f);
  EXPECT_EQ(y, bias);
}

}  // namespace chalk
