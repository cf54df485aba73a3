// AdamW and SGD against their equations in double, clipping, gradient accumulation, and what optimisers skip.
#include "nn/optimizer.h"

#include <gtest/gtest.h>

#include "nn/adamw.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

class OptimizerTest : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    for (const Shape& shape : {Shape{5, 7}, Shape{9}}) {
      Tensor w = random_tensor(shape, 20 + parameters.size(), GetParam());
      w.set_requires_grad();
      start.push_back(w.to_vector());
      parameters.push_back({"w" + std::to_string(parameters.size()), w});
    }
  }
  // The gradient of parameter i at step t: the same numbers for the optimiser and for the equations in double.
  void put_gradients(uint64_t t) {
    for (size_t i = 0; i < 2; ++i) {
      const Tensor& w = parameters[i].tensor;
      w.grad().copy_from(random_tensor(w.shape, 1000 * t + i, GetParam()));
    }
  }
  double gradient(uint64_t t, size_t i, int64_t j) {
    return 2.0 * random_uniform(1000 * t + i, uint64_t(j)) - 1;
  }

  std::vector<NamedTensor> parameters;
  std::vector<std::vector<float>> start;
};

// Five steps, each rounding w (of order 1) four times: 20 · 2^-24.
constexpr double kFiveSteps = 1.2e-6;

TEST_P(OptimizerTest, AdamWFollowsItsEquations) {
  const AdamW::Options o{.lr = 0.01f,
                         .beta1 = 0.9f,
                         .beta2 = 0.95f,
                         .eps = 1e-8f,
                         .weight_decay = 0.1f,
                         .vector_weight_decay = 0};
  AdamW optimizer(parameters, o);
  const double lr_factors[] = {0.25, 0.5, 1, 1, 0.7}, clip = 0.6;
  for (uint64_t t = 0; t < 5; ++t) {
    put_gradients(t);
    optimizer.step(lr_factors[t], clip);
  }
  EXPECT_EQ(optimizer.steps, 5);

  const double beta1 = o.beta1, beta2 = o.beta2;
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> expected;
    for (size_t j = 0; j < start[i].size(); ++j) {
      double w = start[i][j], m = 0, v = 0;
      for (uint64_t t = 0; t < 5; ++t) {
        const double g = clip * gradient(t, i, int64_t(j)), lr = double(o.lr) * lr_factors[t];
        m = beta1 * m + (1 - beta1) * g;
        v = beta2 * v + (1 - beta2) * g * g;
        w -= lr * (i == 0 ? double(o.weight_decay) : 0) * w;  // matrices decay, vectors do not
        const double m_hat = m / (1 - std::pow(beta1, double(t + 1))),
                     v_hat = v / (1 - std::pow(beta2, double(t + 1)));
        w -= lr * m_hat / (std::sqrt(v_hat) + double(o.eps));
      }
      expected.push_back(float(w));
    }
    EXPECT_TRUE(all_near(parameters[i].tensor.to_vector(), expected, kFiveSteps)) << i;
  }
}

TEST_P(OptimizerTest, SGDFollowsItsEquations) {
  const SGD::Options o{.lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f};
  SGD optimizer(parameters, o);
  for (uint64_t t = 0; t < 5; ++t) {
    put_gradients(t);
    optimizer.step(1, 0.5);
  }
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> expected;
    for (size_t j = 0; j < start[i].size(); ++j) {
      double w = start[i][j], u = 0;
      for (uint64_t t = 0; t < 5; ++t) {
        u = double(o.momentum) * u + 0.5 * gradient(t, i, int64_t(j)) + double(o.weight_decay) * w;
        w -= double(o.lr) * u;
      }
      expected.push_back(float(w));
    }
    EXPECT_TRUE(all_near(parameters[i].tensor.to_vector(), expected, kFiveSteps)) << i;
  }
}

TEST_P(OptimizerTest, ParametersWithoutAGradientAreLeftAlone) {
  AdamW adamw(parameters, {});
  SGD sgd(parameters, {.momentum = 0.9f, .weight_decay = 1});
  for (Optimizer* optimizer : std::vector<Optimizer*>{&adamw, &sgd}) {
    optimizer->zero_grad();
    optimizer->step(1);
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ(parameters[i].tensor.to_vector(), start[i]);
  }
}

TEST_P(OptimizerTest, StateHasNamesForACheckpoint) {
  AdamW adamw(parameters, {});
  put_gradients(0);
  adamw.step(1);
  std::vector<std::string> names;
  adamw.visit_state([&](const std::string& name, const Tensor& state) {
    names.push_back(name);
    EXPECT_NE(state.to_vector(), std::vector<float>(size_t(state.numel()), 0.0f));
  });
  EXPECT_EQ(names, (std::vector<std::string>{"adamw.m.w0", "adamw.v.w0", "adamw.m.w1", "adamw.v.w1"}));

  // A second optimiser that takes the state over goes on bit for bit.
  AdamW copy(parameters, {});
  copy.steps = adamw.steps;
  for (size_t i = 0; i < 2; ++i) copy.m[i].copy_from(adamw.m[i]), copy.v[i].copy_from(adamw.v[i]);
  std::vector<Tensor> before;
  for (const NamedTensor& p : parameters) before.push_back(p.tensor.clone());
  put_gradients(1);
  adamw.step(1);
  const std::vector<float> went_on = parameters[0].tensor.to_vector();
  for (size_t i = 0; i < 2; ++i) parameters[i].tensor.copy_from(before[i]);
  copy.step(1);
  EXPECT_EQ(parameters[0].tensor.to_vector(), went_on);
}

TEST_P(OptimizerTest, GradientNormAndClipping) {
  EXPECT_EQ(gradient_norm(parameters), 0);
  parameters[1].tensor.grad().fill(2);
  EXPECT_NEAR(gradient_norm(parameters), 6, 1e-6);  // √(9 · 4)
  EXPECT_NEAR(clip_coefficient(6, 3) * 6, 3, 1e-5);
  EXPECT_EQ(clip_coefficient(6, 7), 1);
  EXPECT_EQ(clip_coefficient(6, 0), 1);  // no clipping
  EXPECT_EQ(clip_coefficient(0, 1), 1);
}

INSTANTIATE_TEST_SUITE_P(Devices, OptimizerTest, testing::Values(Device::Plain, Device::CPU),
                         device_test_name);

// Two half batches, each divided by the whole batch's size, leave the gradient of the whole batch.
class Accumulation : public testing::TestWithParam<ModelCase> {};

TEST_P(Accumulation, TwoHalvesEqualOneBatch) {
  const auto model = GetParam().make();
  const IntTensor ids = some_ids(4, 6);
  const std::vector<float> ones(24, 1);
  cross_entropy(model->forward(ids), ids.values, ones, 24).backward();
  std::vector<Tensor> whole;
  for (const NamedTensor& p : model->parameters()) whole.push_back(p.tensor.grad().clone());

  model->zero_grad();
  for (int64_t half = 0; half < 2; ++half) {
    const IntTensor part{{2, 6}, {ids.values.begin() + 12 * half, ids.values.begin() + 12 * (half + 1)}};
    cross_entropy(model->forward(part), part.values, std::vector<float>(12, 1), 24).backward();
  }
  const std::vector<NamedTensor> parameters = model->parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    double size = 1;
    for (float g : whole[i].to_vector()) size = std::max(size, double(std::abs(g)));
    // sums of 24 rows in another order: eps · √24, of terms up to the largest gradient; a few ops deep
    EXPECT_TRUE(all_near(parameters[i].tensor.grad(), whole[i], 4 * 6e-8 * 5 * size)) << parameters[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Accumulation, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk
