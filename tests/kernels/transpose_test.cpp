// Transpose: the plain backward against complex step; twice is the identity.

#include "kernels/transpose.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(Transpose, BackwardMatchesComplexStep) {
  const int64_t shapes[][3] = {{1, 1, 1}, {1, 1, 5}, {2, 3, 4}, {3, 7, 2}};
  for (const int64_t* s : shapes) {
    const int64_t B = s[0], M = s[1], N = s[2];
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(B * M * N);
      plain::transpose_forward(y.data(), in[0].data(), B, M, N);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs&) {
      plain::transpose_backward(d[0], dy, B, M, N);
    };
    expect_complex_step({normals(B * M * N, 1)}, forward, backward);
  }
}

TEST(Transpose, TwiceIsTheIdentity) {
  const std::vector<double> x = normals(2 * 3 * 5, 1);
  std::vector<double> y(x.size()), z(x.size());
  plain::transpose_forward(y.data(), x.data(), 2, 3, 5);
  EXPECT_EQ(y[1], x[5]);  // y_0,0,1 = x_0,1,0
  plain::transpose_forward(z.data(), y.data(), 2, 5, 3);
  EXPECT_EQ(z, x);
}

}  // namespace chalk
