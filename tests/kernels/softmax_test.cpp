// Softmax and log-softmax: the plain backwards against complex step, and their invariances.

#include "kernels/softmax.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

struct Rows {
  int64_t N, C;
};
const Rows row_shapes[] = {{1, 1}, {3, 1}, {1, 2}, {2, 7}, {4, 33}};

TEST(Softmax, BackwardMatchesComplexStep) {
  for (auto [N, C] : row_shapes) {
    auto forward = [N = N, C = C](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(N * C);
      plain::softmax_forward(y.data(), in[0].data(), N, C);
      return y;
    };
    auto backward = [=, N = N, C = C](const Gradients& d, const double* dy, const Inputs& in) {
      plain::softmax_backward(d[0], dy, forward(in).data(), N, C);
    };
    expect_complex_step({normals(N * C, 1, 2)}, forward, backward);
  }
}

TEST(LogSoftmax, BackwardMatchesComplexStep) {
  for (auto [N, C] : row_shapes) {
    auto forward = [N = N, C = C](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(N * C);
      plain::log_softmax_forward(y.data(), in[0].data(), N, C);
      return y;
    };
    auto backward = [=, N = N, C = C](const Gradients& d, const double* dy, const Inputs& in) {
      plain::log_softmax_backward(d[0], dy, forward(in).data(), N, C);
    };
    expect_complex_step({normals(N * C, 1, 2)}, forward, backward);
  }
}

TEST(Softmax, RowsSumToOneAndAConstantChangesNothing) {
  const int64_t C = 33;
  const std::vector<double> x = normals(C, 1);
  std::vector<double> shifted = x, y(C), y_shifted(C);
  for (double& v : shifted) v += 1024;  // a power of two: x + 1024 loses at most 2⁻⁴³
  plain::softmax_forward(y.data(), x.data(), 1, C);
  plain::softmax_forward(y_shifted.data(), shifted.data(), 1, C);
  double sum = 0;
  for (double v : y) sum += v;
  EXPECT_NEAR(sum, 1, 1e-15);
  for (int64_t c = 0; c < C; ++c) EXPECT_NEAR(y_shifted[c], y[c], 0x1p-42);
}

TEST(Softmax, HugeScoresOverflowNeither) {
  const std::vector<float> x = {1e4f, -1e4f, 1e4f, -3e38f};
  std::vector<float> y(4), log_y(4);
  plain::softmax_forward(y.data(), x.data(), 1, 4);
  plain::log_softmax_forward(log_y.data(), x.data(), 1, 4);
  EXPECT_EQ(y, (std::vector<float>{0.5f, 0, 0.5f, 0}));
  EXPECT_FLOAT_EQ(log_y[0], -std::log(2.0f));
  EXPECT_FLOAT_EQ(log_y[1], -2e4f - std::log(2.0f));
  EXPECT_FLOAT_EQ(log_y[3], -3e38f);
}

}  // namespace chalk
