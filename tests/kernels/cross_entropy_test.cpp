// Cross-entropy: the plain backward against complex step, ignored rows, large logits.

#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

TEST(CrossEntropy, BackwardMatchesComplexStep) {
  struct Case {
    int64_t V;
    std::vector<int32_t> targets;
    int32_t ignore_index;
  };
  const Case cases[] = {{1, {0}, -100},
                        {7, {6}, -100},
                        {5, {0, 4, -100, 2}, -100},
                        {33, {3, 3, 0}, 0},
                        {4, {-100, -100}, -100}};
  for (const Case& c : cases) {
    const int64_t N = int64_t(c.targets.size());
    auto forward = [&](const auto& in) {
      std::vector<NumberOf<decltype(in)>> loss(N), log_sum(N);
      plain::cross_entropy_forward(loss.data(), log_sum.data(), in[0].data(), c.targets.data(),
                                   c.ignore_index, N, c.V);
      return loss;
    };
    auto backward = [&](const Gradients& d, const double* dy, const Inputs& in) {
      std::vector<double> loss(N), log_sum(N);
      plain::cross_entropy_forward(loss.data(), log_sum.data(), in[0].data(), c.targets.data(),
                                   c.ignore_index, N, c.V);
      plain::cross_entropy_backward(d[0], dy, in[0].data(), log_sum.data(), c.targets.data(), c.ignore_index,
                                    N, c.V);
    };
    expect_complex_step({normals(N * c.V, 1, 2)}, forward, backward);
  }
}

TEST(CrossEntropy, EqualLogitsCostLogV) {
  const std::vector<double> logits(512, 3.25);
  const int32_t target = 17;
  double loss, log_sum;
  plain::cross_entropy_forward(&loss, &log_sum, logits.data(), &target, -100, 1, 512);
  EXPECT_NEAR(loss, std::log(512.0), 1e-14);
}

TEST(CrossEntropy, IgnoredRowsCostNothingAndGetNoGradient) {
  const std::vector<float> logits = {1, 2, 3, 4, 5, 6}, dloss = {1, 1};
  const std::vector<int32_t> targets = {-100, 1};
  std::vector<float> loss(2), log_sum(2), dlogits(6);
  plain::cross_entropy_forward(loss.data(), log_sum.data(), logits.data(), targets.data(), -100, 2, 3);
  plain::cross_entropy_backward(dlogits.data(), dloss.data(), logits.data(), log_sum.data(), targets.data(),
                                -100, 2, 3);
  EXPECT_EQ(loss[0], 0);
  EXPECT_GT(loss[1], 0);
  for (int v = 0; v < 3; ++v) EXPECT_EQ(dlogits[v], 0);
  // Without the ignored row a row's gradient sums to 0: probabilities minus one-hot.
  EXPECT_NEAR(dlogits[3] + dlogits[4] + dlogits[5], 0, 3 * 0x1p-24);
}

TEST(CrossEntropy, HugeLogitsOverflowNeither) {
  const std::vector<float> logits = {1e4f, -1e4f, 1e4f, -1e4f};
  const std::vector<int32_t> targets = {0, 1};
  std::vector<float> loss(2), log_sum(2);
  plain::cross_entropy_forward(loss.data(), log_sum.data(), logits.data(), targets.data(), -100, 2, 2);
  EXPECT_EQ(loss, (std::vector<float>{0, 2e4f}));
}

}  // namespace chalk
