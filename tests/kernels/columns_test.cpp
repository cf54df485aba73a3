// Blocks of columns: columns_add is the backward of columns_copy (complex step); joining what was sliced.

#include "kernels/columns.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(Columns, BackwardMatchesComplexStep) {
  const int64_t N = 3, width = 7;
  for (int64_t start : {0, 2, 6}) {
    const int64_t C = std::min<int64_t>(4, width - start);
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(N * C);
      plain::columns_copy(y.data(), C, 0, in[0].data(), width, start, N, C);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs&) {
      plain::columns_add(d[0], width, start, dy, C, 0, N, C);
    };
    expect_complex_step({normals(N * width, 1)}, forward, backward);
  }
}

TEST(Columns, JoiningTheSlicesGivesTheWhole) {
  const int64_t N = 4, width = 9;
  const std::vector<double> x = normals(N * width, 1);
  std::vector<double> left(N * 2), right(N * 7), joined(N * width);
  plain::columns_copy(left.data(), 2, 0, x.data(), width, 0, N, 2);
  plain::columns_copy(right.data(), 7, 0, x.data(), width, 2, N, 7);
  plain::columns_copy(joined.data(), width, 0, left.data(), 2, 0, N, 2);
  plain::columns_copy(joined.data(), width, 2, right.data(), 7, 0, N, 7);
  EXPECT_EQ(joined, x);
}

}  // namespace chalk
