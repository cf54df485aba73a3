// The ops' nodes, LSQ's constants, and what the fake-quantised projection promises.

#include "nn/fake_quant.h"

#include <gtest/gtest.h>

#include "autograd/gradcheck.h"
#include "nn/adamw.h"
#include "nn/init.h"
#include "tests/expect.h"

namespace chalk {
namespace {

Tensor normal(Shape shape, uint64_t seed, Device device = Device::CPU, float std = 1) {
  Tensor x(std::move(shape), device);
  init_normal(x, std, seed, "x");
  return x;
}

struct FakeQuantOps : testing::TestWithParam<Device> {
  FakeQuantLinear layer(int64_t in, int64_t out, const FakeQuantOptions& options,
                        const std::vector<int>& widths) {
    Linear linear(in, out, true, GetParam());
    init_normal(linear.weight, 0.1f, 3, "weight");
    init_normal(linear.bias, 0.1f, 3, "bias");
    return FakeQuantLinear(linear, options, widths);
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, FakeQuantOps, testing::Values(Device::Plain, Device::CPU, Device::CUDA),
                         device_test_name);

std::vector<float> gradient_of(const Tensor& x) {
  return x.grad().to_vector();
}

// dL/dx for L = Σ c · y.
template <class F>
std::vector<float> pull_back(const Tensor& x, F op, const Tensor& c) {
  x.zero_grad();
  sum(mul(op(x), c)).backward();
  return gradient_of(x);
}

TEST_P(FakeQuantOps, StraightThroughMaskReachesX) {
  const Tensor x = normal({4, 8}, 1, GetParam()), c = normal({4, 8}, 2, GetParam());
  Tensor leaf = x;
  leaf.set_requires_grad();
  // The symmetric grid holds max|x|, so nothing is clipped: dx = c.
  const auto symmetric = [](const Tensor& x) { return fake_quant(x, 3, FakeQuantGrid::Symmetric, 8); };
  EXPECT_EQ(pull_back(leaf, symmetric, c), c.to_vector());
  const auto unmasked = [](const Tensor& x) {
    return fake_quant(x, 3, FakeQuantGrid::Range, 0, GradientPass::All);
  };
  EXPECT_EQ(pull_back(leaf, unmasked, c), c.to_vector());
  // Learned steps clip at 3 · 0.2 = 0.6.
  const Tensor step = Tensor::full({4}, 0.2f, GetParam());
  const auto learned = [&](const Tensor& x) { return fake_quant_learned(x, step, {}, -3, 3); };
  const std::vector<float> dx = pull_back(leaf, learned, c), numbers = x.to_vector(), weights = c.to_vector();
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_EQ(dx[i], std::abs(numbers[i] / 0.2f) < 3 ? weights[i] : 0);
}

// Where everything is clipped, y = bound · step + offset, and LSQ's gradients are true ones: gradcheck can
// see them.
TEST_P(FakeQuantOps, LearnedStepsAndOffsetsGetTheirGradients) {
  const Tensor x = Tensor::from({2, 3}, {9, -9, 8, -7, 9, 9}, GetParam());
  const auto f = [&](const std::vector<Tensor>& in) { return fake_quant_learned(x, in[0], in[1], -2, 1); };
  const GradcheckResult result = gradcheck(
      f, {Tensor::from({2}, {0.5f, 0.25f}, GetParam()), Tensor::from({2}, {0.1f, -0.2f}, GetParam())});
  EXPECT_LT(result.worst, 1e-4) << result.message();  // y is linear in both: only float rounding, eps / h
}

TEST_P(FakeQuantOps, StepScaleMultipliesTheStepsGradientOnly) {
  Tensor x = normal({2, 8}, 4, GetParam()), step = Tensor::full({2}, 0.3f, GetParam());
  x.set_requires_grad(), step.set_requires_grad();
  sum(fake_quant_learned(x, step, {}, -3, 3, 1)).backward();
  const std::vector<float> dx = gradient_of(x), dstep = gradient_of(step);
  x.zero_grad(), step.zero_grad();
  sum(fake_quant_learned(x, step, {}, -3, 3, 0.25f)).backward();
  EXPECT_EQ(gradient_of(x), dx);
  for (size_t g = 0; g < 2; ++g) EXPECT_EQ(gradient_of(step)[g], 0.25f * dstep[g]);
}

// Invariant 9: no gradient, no change; 16 bits and more return the very tensor.
TEST_P(FakeQuantOps, SixteenBitsPassThrough) {
  const Tensor x = normal({2, 8}, 5, GetParam());
  EXPECT_EQ(fake_quant(x, 16, FakeQuantGrid::Asymmetric, 8).data(), x.data());
  EXPECT_EQ(quantize_gradient(x, 16, true, 1).data(), x.data());
  FakeQuantLinear layer = this->layer(8, 4, {}, {2, 16});
  EXPECT_EQ(layer.forward(x).to_vector(), linear(x, layer.weight, layer.bias).to_vector());
}

TEST_P(FakeQuantOps, ZeroGradientLeavesWeightAndStepAlone) {
  FakeQuantLinear layer = this->layer(8, 4, {}, {4});
  layer.precision.weights = 4;
  const std::vector<float> weight = layer.weight.to_vector(), step = layer.steps.at(4).to_vector();
  sum(scale(layer.forward(normal({3, 8}, 6, GetParam())), 0)).backward();
  AdamW optimizer(layer.parameters(), {.lr = 0.1f, .weight_decay = 0});
  optimizer.step(1);
  EXPECT_EQ(layer.weight.to_vector(), weight);
  EXPECT_EQ(layer.steps.at(4).to_vector(), step);
}

// The gradient's rounding: forward is the identity; backward's numbers lie on 2^bits levels of the gradient's
// range, and to the nearest it is the range grid of the forward direction.
TEST_P(FakeQuantOps, GradientsAreRoundedInBackward) {
  Tensor x = normal({4, 8}, 7, GetParam());
  x.set_requires_grad();
  const Tensor c = normal({4, 8}, 8, GetParam());
  EXPECT_EQ(quantize_gradient(x, 3, true, 1).to_vector(), x.to_vector());
  const auto nearest = [](const Tensor& x) { return quantize_gradient(x, 3, false, 1); };
  EXPECT_EQ(pull_back(x, nearest, c), fake_quant(c, 3, FakeQuantGrid::Range, 0).to_vector());
  const auto stochastic = [](const Tensor& x) { return quantize_gradient(x, 3, true, 1); };
  const std::vector<float> once = pull_back(x, stochastic, c), again = pull_back(x, stochastic, c);
  EXPECT_EQ(once, again);  // the same seed
  EXPECT_NE(once, pull_back(x, nearest, c));
  const auto other = [](const Tensor& x) { return quantize_gradient(x, 3, true, 2); };
  EXPECT_NE(once, pull_back(x, other, c));
}

TEST_P(FakeQuantOps, StraightThroughTakesTheValueAndPassesTheGradient) {
  Tensor x = normal({2, 3}, 9, GetParam());
  x.set_requires_grad();
  const Tensor value = normal({2, 3}, 10, GetParam()), c = normal({2, 3}, 11, GetParam());
  EXPECT_EQ(straight_through(x, value).to_vector(), value.to_vector());
  EXPECT_EQ(pull_back(
                x, [&](const Tensor& x) { return straight_through(x, value); }, c),
            c.to_vector());
}

// dweight uses the rounded x, dx the rounded weight (sheet qat_foundations, algorithm 4).
TEST_P(FakeQuantOps, BackwardUsesTheRoundedOperands) {
  FakeQuantLinear layer = this->layer(8, 4, {.learned_steps = false}, {});
  layer.precision = {.weights = 4, .activations = 4};
  Tensor x = normal({3, 8}, 12, GetParam());
  x.set_requires_grad();
  const Tensor c = normal({3, 4}, 13, GetParam());
  sum(mul(layer.forward(x), c)).backward();
  const Tensor x_hat = fake_quant(x.detach(), 4, FakeQuantGrid::Asymmetric, 8);
  const Tensor w_hat = layer.quantized_weight().detach();
  // The asymmetric grid's ends may be clipped by its rounded zero; count only where the mask is open.
  Tensor twin = x.detach().clone();
  twin.set_requires_grad();
  sum(fake_quant(twin, 4, FakeQuantGrid::Asymmetric, 8)).backward();
  EXPECT_EQ(gradient_of(x), mul(matmul(c, w_hat), twin.grad()).to_vector());
  EXPECT_EQ(gradient_of(layer.weight), matmul(c, x_hat, true).to_vector());  // symmetric: nothing clipped
}

// Codes: dequantizing gives the weight that was trained with, bit for bit, for every grid that a file can
// hold.
TEST_P(FakeQuantOps, CodesDequantizeToTheTrainedWeight) {
  for (int bits : {2, 3, 4, 8}) {
    for (int64_t group_size : {-1, 0, 4}) {
      for (const char* kind : {"learned", "learned full", "symmetric", "asymmetric"}) {
        FakeQuantOptions options{.group_size = group_size};
        const std::string name = kind;
        options.learned_steps = name.starts_with("learned");
        options.full_range = name == "learned full";
        if (name == "asymmetric") options.weight_grid = FakeQuantGrid::Asymmetric;
        FakeQuantLinear layer = this->layer(8, 5, options, {bits});
        layer.precision.weights = bits;
        const QuantizedMatrix codes = layer.codes();
        validate(codes);
        EXPECT_EQ(dequantize(codes), layer.quantized_weight().to_vector())
            << name << " " << bits << " " << group_size;
      }
    }
  }
  FakeQuantLinear range = layer(8, 4, {.learned_steps = false, .weight_grid = FakeQuantGrid::Range}, {});
  range.precision.weights = 4;
  EXPECT_MENTIONS(error_text([&] { range.codes(); }), "no whole number of steps");
  EXPECT_MENTIONS(error_text([&] { layer(8, 4, {}, {2}).codes(); }), "16 bits");
}

TEST(Lsq, Constants) {
  EXPECT_EQ(signed_codes(2).high, 1);
  EXPECT_EQ(signed_codes(4).low, -7);
  EXPECT_EQ(signed_codes(4, true).low, -8);
  EXPECT_FLOAT_EQ(lsq_step_scale(100, 7), 1 / std::sqrt(700.0f));
  const std::vector<float> x = {1, -1, 1, -3};
  // 2 · mean|x| / √Qp with mean 1.5 and Qp = 7; max|x| / Qp
  EXPECT_FLOAT_EQ(lsq_initial_steps(x.data(), 1, 4, signed_codes(4), StepInit::MeanAbs)[0],
                  3 / std::sqrt(7.0f));
  EXPECT_FLOAT_EQ(lsq_initial_steps(x.data(), 1, 4, signed_codes(4), StepInit::AbsMax)[0], 3 / 7.0f);
}

// Gotcha 4 of the sheet: the paper's first step is right at 2 bits and far too wide at 8; Best picks the
// right one.
TEST(Lsq, BestFirstStepFollowsTheWidth) {
  const std::vector<float> x = normal({4096}, 14).to_vector();
  const auto first = [&](int bits, StepInit init) {
    return lsq_initial_steps(x.data(), 1, 4096, signed_codes(bits), init)[0];
  };
  EXPECT_EQ(first(2, StepInit::Best), first(2, StepInit::MeanAbs));
  EXPECT_EQ(first(8, StepInit::Best), first(8, StepInit::AbsMax));
  EXPECT_GT(first(8, StepInit::MeanAbs), 3 * first(8, StepInit::AbsMax));
}

// LSQ lowers the rounding error that it was not asked to lower: the step moves to where the loss wants it.
// With the weight frozen and L = Σ (ŵ − w)², twenty steps of gradient descent must not end above the start.
TEST(Lsq, LearnedStepLowersTheLoss) {
  const Tensor w = normal({1, 512}, 15);
  Tensor step = Tensor::full({1}, 1.5f);  // far too wide for 4 bits
  step.set_requires_grad();
  const auto loss = [&] {
    const Tensor difference = add(fake_quant_learned(w, step, {}, -7, 7), scale(w, -1));
    return mean(mul(difference, difference));
  };
  const float before = loss().item();
  SGD optimizer({{"step", step}}, {.lr = 0.5f});
  for (int i = 0; i < 20; ++i) {
    optimizer.zero_grad();
    loss().backward();
    optimizer.step(1);
  }
  EXPECT_LT(loss().item(), before / 2);
}

TEST(FakeQuantLinear, RefusesWhatCannotBe) {
  const Linear linear(8, 4, false, Device::CPU);
  EXPECT_MENTIONS(error_text([&] { FakeQuantLinear(linear, {.group_size = 3}, {4}); }), "groups of 3");
  EXPECT_MENTIONS(error_text([&] { FakeQuantLinear(linear, {}, {1}); }), "1 bits");
  FakeQuantLinear layer(linear, {}, {4});
  layer.precision.weights = 5;
  EXPECT_MENTIONS(error_text([&] { layer.forward(Tensor({2, 8})); }), "no steps were made for 5 bits");
  EXPECT_MENTIONS(error_text([&] {
                    fake_quant(Tensor({2, 8}), 4, FakeQuantGrid::Symmetric, 3);
                  }),
                  "sets of 3");
  EXPECT_MENTIONS(error_text([&] {
                    fake_quant_learned(Tensor({2, 8}), Tensor({3}), {}, -1, 1);
                  }),
                  "one set for each");
}

TEST(FakeQuantLinear, CustomRoundingPassesStraightThrough) {
  const Linear linear(4, 2, false, Device::CPU);
  init_normal(linear.weight, 1, 16, "weight");
  FakeQuantOptions options;
  options.custom_weights = [](const Tensor& w, int bits) { return scale(w.detach(), float(bits)); };
  FakeQuantLinear layer(linear, options, {4});
  layer.precision.weights = 4;
  const Tensor c = normal({2, 4}, 17);
  sum(mul(layer.quantized_weight(), c)).backward();
  EXPECT_EQ(layer.quantized_weight().to_vector(), scale(linear.weight.detach(), 4).to_vector());
  EXPECT_EQ(layer.weight.grad().to_vector(), c.to_vector());
}

}  // namespace
}  // namespace chalk
