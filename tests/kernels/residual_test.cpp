// Residual add: the plain backward (accumulate, once per input) against complex step.

#include "kernels/residual.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(Residual, BackwardMatchesComplexStep) {
  for (int64_t count : {1, 13}) {
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(count);
      plain::residual_forward(y.data(), in[0].data(), in[1].data(), count);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs&) {
      plain::accumulate(d[0], dy, count);
      plain::accumulate(d[1], dy, count);
    };
    expect_complex_step({normals(count, 1), normals(count, 2)}, forward, backward);
  }
}

}  // namespace chalk
