// Distillation losses against their definitions.

#include "nn/distillation.h"

#include <gtest/gtest.h>

#include "autograd/gradcheck.h"
#include "nn/init.h"
#include "tests/expect.h"

namespace chalk {
namespace {

Tensor normal(Shape shape, uint64_t seed) {
  Tensor x(std::move(shape));
  init_normal(x, 1, seed, "x");
  return x;
}

std::vector<double> softmax_of(const float* z, int64_t V, double temperature) {
  std::vector<double> p;
  double sum = 0;
  for (int64_t v = 0; v < V; ++v) p.push_back(std::exp(z[v] / temperature)), sum += p.back();
  for (double& v : p) v /= sum;
  return p;
}

TEST(Distillation, KlIsItsDefinition) {
  const int64_t N = 3, V = 7;
  const Tensor student = normal({N, V}, 1), teacher = normal({N, V}, 2);
  const std::vector<float> weights = {2, 0, 1};
  for (double temperature : {1.0, 4.0}) {
    double want = 0;
    for (int64_t n = 0; n < N; ++n) {
      const auto p = softmax_of(teacher.data() + n * V, V, temperature);
      const auto q = softmax_of(student.data() + n * V, V, temperature);
      for (int64_t v = 0; v < V; ++v) want += weights[n] / 3 * p[v] * std::log(p[v] / q[v]);
    }
    want *= temperature * temperature;
    // Sums of 21 terms of size one in float, times τ² = 16.
    EXPECT_NEAR(distillation_kl(student, teacher, float(temperature), {weights}).item(), want, 1e-5);
  }
}

TEST(Distillation, GradientReachesTheStudentOnly) {
  Tensor student = normal({2, 3, 5}, 3), teacher = normal({2, 3, 5}, 4);
  const auto kl = [&](const std::vector<Tensor>& in) { return distillation_kl(in[0], teacher, 2); };
  const auto mse = [&](const std::vector<Tensor>& in) { return distillation_mse(in[0], teacher); };
  EXPECT_LT(gradcheck(kl, {student.clone()}).worst, 1e-3);
  EXPECT_LT(gradcheck(mse, {student.clone()}).worst, 1e-3);
  teacher.set_requires_grad(), student.set_requires_grad();
  add(distillation_kl(student, teacher), distillation_mse(student, teacher)).backward();
  EXPECT_FALSE(teacher.has_grad());
  EXPECT_TRUE(student.has_grad());
}

// The same logits: no loss and no gradient. p − p is exact, the two softmaxes differ by a rounding of numbers
// below 1.
TEST(Distillation, EqualLogitsGiveNoGradient) {
  Tensor student = normal({4, 6}, 5);
  const Tensor teacher = student.detach();
  student.set_requires_grad();
  const Tensor loss = distillation_kl(student, teacher);
  EXPECT_NEAR(loss.item(), 0, 1e-6);
  loss.backward();
  for (float g : student.grad().to_vector()) EXPECT_NEAR(g, 0, 1e-6);
}

TEST(Distillation, PaddingRowsCountNowhere) {
  const Tensor student = normal({3, 4}, 6), teacher = normal({3, 4}, 7);
  Tensor moved = student.clone();
  for (int v = 0; v < 4; ++v) moved.data()[4 + v] += 5;
  const RowWeights weights{{1, 0, 1}};
  EXPECT_EQ(distillation_mse(student, teacher, weights).item(),
            distillation_mse(moved, teacher, weights).item());
  EXPECT_EQ(distillation_kl(student, teacher, 1, weights).item(),
            distillation_kl(moved, teacher, 1, weights).item());
  EXPECT_MENTIONS(error_text([&] { distillation_mse(student, teacher, {{1, 2}}); }), "2 weights for 3 rows");
}

}  // namespace
}  // namespace chalk
