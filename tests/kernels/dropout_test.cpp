// Dropout: the plain backward against complex step, and the statistics of the mask.

#include "kernels/dropout.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(Dropout, BackwardMatchesComplexStep) {
  const int64_t count = 50;
  for (float p : {0.0f, 0.25f, 0.9f}) {
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(count);
      plain::dropout_forward(y.data(), in[0].data(), count, p, 7);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs&) {
      plain::dropout_backward(d[0], dy, count, p, 7);
    };
    expect_complex_step({normals(count, 1)}, forward, backward);
  }
}

TEST(Dropout, KeepsTheStatedShareAndTheMean) {
  const int64_t count = 100000;
  const float p = 0.3f;
  const std::vector<float> x(count, 1);
  std::vector<float> y(count);
  plain::dropout_forward(y.data(), x.data(), count, p, 11);
  int64_t kept = 0;
  for (float v : y) {
    EXPECT_TRUE(v == 0 || v == 1 / (1 - p));
    kept += v != 0;
  }
  // The number kept is binomial: five standard deviations, √(count · p · (1 − p)) each.
  EXPECT_NEAR(kept, count * 0.7, 5 * std::sqrt(count * 0.3 * 0.7));
}

TEST(Dropout, ZeroKeepsAllAndOneKeepsNone) {
  const std::vector<float> x = {1, -2, 3};
  std::vector<float> y(3, 9);
  plain::dropout_forward(y.data(), x.data(), 3, 0.0f, 5);
  EXPECT_EQ(y, x);
  plain::dropout_forward(y.data(), x.data(), 3, 1.0f, 5);
  EXPECT_EQ(y, (std::vector<float>{0, 0, 0}));
}

TEST(Dropout, AnotherSeedGivesAnotherMask) {
  const std::vector<float> x(64, 1);
  std::vector<float> y(64), z(64);
  plain::dropout_forward(y.data(), x.data(), 64, 0.5f, 1);
  plain::dropout_forward(z.data(), x.data(), 64, 0.5f, 2);
  EXPECT_NE(y, z);
}

}  // namespace chalk
