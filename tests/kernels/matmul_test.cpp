// Matrix product: the three products of a linear layer against complex step, and every flag.

#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include "kernels/transpose.h"
#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

struct Size {
  int64_t M, N, K;
};
const Size sizes[] = {{1, 1, 1}, {1, 5, 3}, {4, 1, 2}, {3, 4, 5}, {7, 2, 9}};

TEST(Matmul, LinearLayerBackwardMatchesComplexStep) {
  for (auto [rows, out, in_channels] : sizes) {
    const int64_t N = rows, O = out, I = in_channels;
    auto forward = [=](const auto& in) {
      using T = NumberOf<decltype(in)>;
      std::vector<T> y(N * O);
      const MatmulShape shape{.M = N, .N = O, .K = I, .transpose_b = true};
      plain::matmul(y.data(), in[0].data(), in[1].data(), in[2].data(), shape, static_cast<T*>(nullptr));
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
      const MatmulShape dx{.M = N, .N = I, .K = O, .accumulate = true};
      const MatmulShape dweight{.M = O, .N = I, .K = N, .transpose_a = true, .accumulate = true};
      const double* no_bias = nullptr;
      double* no_workspace = nullptr;
      plain::matmul(d[0], dy, in[1].data(), no_bias, dx, no_workspace);
      plain::matmul(d[1], dy, in[0].data(), no_bias, dweight, no_workspace);
      for (int64_t n = 0; n < N; ++n) {
        for (int64_t o = 0; o < O; ++o) d[2][o] += dy[n * O + o];
      }
    };
    expect_complex_step({normals(N * I, 1), normals(O * I, 2), normals(O, 3)}, forward, backward);
  }
}

TEST(Matmul, SmallProductByHand) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = {7, 8, 9, 10, 11, 12}, bias = {1000, 2000};
  std::vector<float> y(4, -1);
  plain::matmul<float>(y.data(), a.data(), b.data(), nullptr, {.M = 2, .N = 2, .K = 3}, nullptr);
  EXPECT_EQ(y, (std::vector<float>{58, 64, 139, 154}));
  plain::matmul<float>(y.data(), a.data(), b.data(), bias.data(),
                       {.M = 2, .N = 2, .K = 3, .accumulate = true}, nullptr);
  EXPECT_EQ(y, (std::vector<float>{1116, 2128, 1278, 2308}));
}

// Storing a or b transposed and saying so changes nothing, bit for bit: terms are added in the same order.
TEST(Matmul, TransposeFlagsMeanTheTransposedMatrix) {
  for (auto [M, N, K] : sizes) {
    const std::vector<double> a = normals(M * K, 1), b = normals(K * N, 2);
    std::vector<double> a_transposed(M * K), b_transposed(K * N), want(M * N), y(M * N);
    plain::transpose_forward(a_transposed.data(), a.data(), 1, M, K);
    plain::transpose_forward(b_transposed.data(), b.data(), 1, K, N);
    plain::matmul<double>(want.data(), a.data(), b.data(), nullptr, {.M = M, .N = N, .K = K}, nullptr);
    for (int flags = 1; flags < 4; ++flags) {
      const MatmulShape shape{
          .M = M, .N = N, .K = K, .transpose_a = (flags & 1) != 0, .transpose_b = (flags & 2) != 0};
      plain::matmul<double>(y.data(), shape.transpose_a ? a_transposed.data() : a.data(),
                            shape.transpose_b ? b_transposed.data() : b.data(), nullptr, shape, nullptr);
      EXPECT_EQ(y, want);
    }
  }
}

TEST(Matmul, EmptySumIsTheBias) {
  const std::vector<float> bias = {1, 2};
  std::vector<float> y(4, 9);
  plain::matmul<float>(y.data(), nullptr, nullptr, bias.data(), {.M = 2, .N = 2, .K = 0}, nullptr);
  EXPECT_EQ(y, (std::vector<float>{1, 2, 1, 2}));
  plain::matmul<float>(y.data(), nullptr, nullptr, nullptr, {.M = 2, .N = 2, .K = 0}, nullptr);
  EXPECT_EQ(y, (std::vector<float>{0, 0, 0, 0}));
}

}  // namespace chalk
