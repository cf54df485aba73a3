// Embedding: the plain backward against complex step, repeated ids included.

#include "kernels/embedding.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(Embedding, BackwardMatchesComplexStep) {
  const int64_t V = 6, C = 3;
  for (const std::vector<int32_t>& ids : {std::vector<int32_t>{5}, {0, 2, 2, 5, 2}}) {
    const int64_t N = int64_t(ids.size());
    auto forward = [&](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(N * C);
      plain::embedding_forward(y.data(), in[0].data(), ids.data(), N, C);
      return y;
    };
    auto backward = [&](const Gradients& d, const double* dy, const Inputs&) {
      plain::embedding_backward(d[0], dy, ids.data(), N, V, C);
    };
    expect_complex_step({normals(V * C, 1)}, forward, backward);
  }
}

TEST(Embedding, CopiesRows) {
  const std::vector<float> weight = {0, 1, 10, 11, 20, 21};
  const std::vector<int32_t> ids = {2, 0, 2};
  std::vector<float> y(6);
  plain::embedding_forward(y.data(), weight.data(), ids.data(), 3, 2);
  EXPECT_EQ(y, (std::vector<float>{20, 21, 0, 1, 20, 21}));
}

}  // namespace chalk
