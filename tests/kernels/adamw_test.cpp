// AdamW: against the closed form of its moving averages, decay apart from the gradient, clipping as a scale.

#include "kernels/adamw.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

// After t steps m_t = (1 − β₁) Σ_s β₁^(t−s) g_s, and v_t likewise with g². Written without a running state.
double closed_form_update(const std::vector<double>& g, size_t t, double beta1, double beta2, double eps) {
  double m = 0, v = 0;
  for (size_t s = 1; s <= t; ++s) {
    m += (1 - beta1) * std::pow(beta1, double(t - s)) * g[s - 1];
    v += (1 - beta2) * std::pow(beta2, double(t - s)) * g[s - 1] * g[s - 1];
  }
  return m / (1 - std::pow(beta1, double(t))) / (std::sqrt(v / (1 - std::pow(beta2, double(t)))) + eps);
}

TEST(AdamW, FollowsTheClosedFormOfTheMovingAverages) {
  const std::vector<double> g = normals(6, 1);
  AdamWStep step{
      .lr = 1e-2f, .beta1 = 0.875f, .beta2 = 0.96875f, .eps = 1e-8f, .weight_decay = 0.125f, .t = 0};
  double w = 1.5, m = 0, v = 0, want = w;
  for (size_t t = 1; t <= g.size(); ++t) {
    step.t = int64_t(t);
    plain::adamw_step(&w, &m, &v, &g[t - 1], 1, step);
    want -= double(step.lr) * double(step.weight_decay) * want;
    want -= double(step.lr) * closed_form_update(g, t, step.beta1, step.beta2, step.eps);
    EXPECT_NEAR(w, want, 1e-14) << "step " << t;
  }
}

TEST(AdamW, FirstStepIsTheLearningRateInSize) {
  std::vector<double> w(2, 0), m(2, 0), v(2, 0), g = {1e-3, -250};
  plain::adamw_step(w.data(), m.data(), v.data(), g.data(), 2,
                    {.lr = 0.5f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 0, .weight_decay = 0, .t = 1});
  EXPECT_NEAR(w[0], -0.5, 1e-15);
  EXPECT_NEAR(w[1], 0.5, 1e-15);
}

TEST(AdamW, DecayDoesNotPassThroughTheMovingAverages) {
  float w = 2, m = 0, v = 0, g = 0;
  plain::adamw_step(&w, &m, &v, &g, 1,
                    {.lr = 0.5f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.25f, .t = 1});
  EXPECT_EQ(w, 2 * (1 - 0.125f));
  EXPECT_EQ(m, 0);
  EXPECT_EQ(v, 0);
}

TEST(AdamW, GradScaleMultipliesTheGradient) {
  const std::vector<double> g = normals(5, 1);
  std::vector<double> half = g, w1(5, 1), m1(5), v1(5), w2(5, 1), m2(5), v2(5);
  for (double& x : half) x *= 0.5;
  AdamWStep step{.lr = 0.1f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-2f, .weight_decay = 0.1f, .t = 1};
  plain::adamw_step(w1.data(), m1.data(), v1.data(), half.data(), 5, step);
  step.grad_scale = 0.5f;
  plain::adamw_step(w2.data(), m2.data(), v2.data(), g.data(), 5, step);
  EXPECT_EQ(w1, w2);
  EXPECT_EQ(m1, m2);
  EXPECT_EQ(v1, v2);
}

}  // namespace chalk
