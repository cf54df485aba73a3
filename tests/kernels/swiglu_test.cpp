// SwiGLU's gate: the plain backward against complex step.

#include "kernels/swiglu.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(SwiGLU, BackwardMatchesComplexStep) {
  for (int64_t count : {1, 2, 31}) {
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(count);
      plain::swiglu_forward(y.data(), in[0].data(), in[1].data(), count);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
      plain::swiglu_backward(d[0], d[1], dy, in[0].data(), in[1].data(), count);
    };
    expect_complex_step({normals(count, 1, 3), normals(count, 2)}, forward, backward, Nulls::Allowed);
  }
}

TEST(SwiGLU, IsSiluOfTheGateTimesUp) {
  const int64_t count = 17;
  const std::vector<double> gate = normals(count, 1), up = normals(count, 2);
  std::vector<double> y(count), silu(count);
  plain::swiglu_forward(y.data(), gate.data(), up.data(), count);
  plain::silu_forward(silu.data(), gate.data(), count);
  for (int64_t i = 0; i < count; ++i) EXPECT_DOUBLE_EQ(y[i], silu[i] * up[i]);
}

}  // namespace chalk
