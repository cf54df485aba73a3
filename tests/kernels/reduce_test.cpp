// Sums: the plain backwards against complex step, and sums known in closed form.

#include "kernels/reduce.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(Reduce, SumBackwardMatchesComplexStep) {
  for (int64_t count : {1, 29}) {
    const double factor = 1.0 / double(count);  // a mean
    auto forward = [=](const auto& in) {
      using T = NumberOf<decltype(in)>;
      std::vector<T> total(1), y(1);
      plain::sum(total.data(), in[0].data(), count);
      plain::scale(y.data(), total.data(), T(factor), 1);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs&) {
      plain::sum_backward(d[0], dy, factor, count);
    };
    expect_complex_step({normals(count, 1)}, forward, backward);
  }
}

TEST(Reduce, SumSquaresDerivativeIsTwiceX) {
  const std::vector<double> x = normals(11, 1);
  auto forward = [](const auto& in) {
    std::vector<NumberOf<decltype(in)>> y(1);
    plain::sum_squares(y.data(), in[0].data(), 11);
    return y;
  };
  const std::vector<double> derivative = complex_step({x}, 0, {1}, forward);
  for (int i = 0; i < 11; ++i) EXPECT_NEAR(derivative[i], 2 * x[i], 1e-15);
}

TEST(Reduce, SumRowsAddsTheColumns) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  std::vector<float> y = {100, 200, 300};
  plain::sum_rows(y.data(), x.data(), 2, 3);
  EXPECT_EQ(y, (std::vector<float>{105, 207, 309}));
}

// A float running sum of 2¹³ copies of 2¹² + 1 would lose the ones once it passes 2²⁴.
TEST(Reduce, LongSumsDoNotDrift) {
  std::vector<float> x(1 << 13, 4097.0f);
  float total;
  plain::sum(&total, x.data(), 1 << 13);
  EXPECT_EQ(total, 33562624.0f);  // 2¹³ · 4097, past 2²⁴ but a float
  plain::sum(&total, x.data(), 0);
  EXPECT_EQ(total, 0);
}

}  // namespace chalk
