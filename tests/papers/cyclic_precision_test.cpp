// Cyclic precision training: the invariants of the fact sheet, in its order.

#include "papers/qat/cyclic_precision.h"

#include <gtest/gtest.h>

#include <map>

#include "autograd/random.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

std::vector<int> bits_of(const CyclicSchedule& schedule, int64_t count) {
  std::vector<int> bits;
  for (int64_t t = 0; t < count; ++t) bits.push_back(schedule.bits(t));
  return bits;
}

CyclicSchedule one_cycle(int low, int high, int64_t P) {
  return {.low = low, .high = high, .cycles = 1, .total = P};
}

Batch small_batch(int64_t index) {
  Batch batch{.B = 3, .T = 8, .ids = {}, .targets = {}, .weights = std::vector<float>(24, 1)};
  for (uint64_t i = 0; i < 24; ++i) {
    batch.ids.push_back(int32_t(random_word(uint64_t(index), i) % 29));
    batch.targets.push_back(int32_t(random_word(uint64_t(index) + 100, i) % 29));
  }
  return batch;
}

std::map<std::string, std::vector<float>> numbers_of(Module& model) {
  std::map<std::string, std::vector<float>> numbers;
  for (const NamedTensor& p : model.parameters()) numbers[p.name] = p.tensor.to_vector();
  return numbers;
}

TrainOptions sgd(int64_t steps) {
  return {
      .optimizer = "sgd", .lr = 0.1, .weight_decay = 0, .schedule = "constant", .warmup = 0, .steps = steps};
}

// Invariant 1.
TEST(CyclicPrecision, ScheduleGoldenValues) {
  const std::vector<int> twenty = {3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 8};
  std::vector<int> twice = twenty;
  twice.insert(twice.end(), twenty.begin(), twenty.end());
  EXPECT_EQ(bits_of({.low = 3, .high = 8, .cycles = 2, .total = 40}, 40), twice);
  EXPECT_EQ(bits_of(one_cycle(2, 8, 8), 8), (std::vector<int>{2, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(bits_of(one_cycle(4, 8, 10), 10), (std::vector<int>{4, 4, 4, 5, 5, 6, 7, 7, 8, 8}));
}

// Invariant 2: P = 1000; at t = 500 the value is 5.5, and ties go to even.
TEST(CyclicPrecision, SwitchPoints) {
  const std::vector<int> bits = bits_of(one_cycle(3, 8, 1000), 1000);
  const std::map<int, int64_t> first = {{4, 205}, {5, 370}, {6, 500}, {7, 631}, {8, 796}};
  for (const auto& [width, step] : first) {
    EXPECT_EQ(bits[size_t(step)], width);
    EXPECT_EQ(bits[size_t(step - 1)], width - 1);
  }
}

// Invariant 3, with the sheet's check value.
TEST(CyclicPrecision, MeanBitsApproachTheMiddle) {
  const std::vector<int> bits = bits_of(one_cycle(3, 8, 2000), 2000);
  double sum = 0;
  for (int b : bits) sum += b;
  EXPECT_NEAR(sum / 2000, 5.499, 0.0005);
}

// Invariant 4, E5: the ratio to the static high bound, P = 2000.
TEST(CyclicPrecision, CostGoldenValues) {
  struct Case {
    int low, high, backward;
    double ratio;
  };
  for (const Case& c :
       {Case{3, 8, 8, 0.6333}, Case{4, 8, 8, 0.6989}, Case{3, 6, 6, 0.6995}, Case{4, 6, 6, 0.7931},
        Case{5, 8, 8, 0.7684}, Case{5, 6, 8, 0.8977}, Case{4, 6, 8, 0.8004}}) {
    const double ratio =
        total_cost(one_cycle(c.low, c.high, 2000), c.backward) / (2000 * relative_cost(c.high, c.backward));
    EXPECT_NEAR(ratio, c.ratio, 0.00005) << c.low << " to " << c.high << ", backward " << c.backward;
  }
  EXPECT_DOUBLE_EQ(relative_cost(32, 32), 1);
  EXPECT_DOUBLE_EQ(relative_cost(8, 8), 1.0 / 16);
}

// Invariant 5: equal bounds are static training, bit for bit.
TEST(CyclicPrecision, EqualBoundsAreStaticTraining) {
  const CyclicSchedule schedule{.low = 8, .high = 8, .cycles = 2, .total = 6};
  const auto cycled = small_gpt2(Device::CPU), held = small_gpt2(Device::CPU);
  CyclicModel a = make_cyclic(*cycled), b = make_cyclic(*held);
  Trainer trainer(*cycled, sgd(6)), plain(*held, sgd(6));
  b.set_precision(8, 8);
  for (int i = 0; i < 6; ++i) {
    cyclic_train_step(a, trainer, schedule, 8, small_batch);
    plain.train_step(small_batch);
  }
  EXPECT_EQ(numbers_of(*cycled), numbers_of(*held));
}

// Invariant 6, and what happens to steps left over: they are held at the top, so a run never ends low.
TEST(CyclicPrecision, BitsRiseInEveryCycle) {
  for (int64_t P : {6, 20, 33}) {
    const CyclicSchedule schedule{.low = 3, .high = 8, .cycles = 4, .total = 4 * P + 3};
    EXPECT_EQ(schedule.period(), P);
    for (int64_t cycle = 0; cycle < 4; ++cycle) {
      EXPECT_EQ(schedule.bits(cycle * P), 3);
      for (int64_t t = 1; t < P; ++t)
        EXPECT_GE(schedule.bits(cycle * P + t), schedule.bits(cycle * P + t - 1));
    }
    for (int64_t t = 4 * P; t < schedule.total; ++t) EXPECT_EQ(schedule.bits(t), 8);
  }
  const CyclicSchedule with_static{.low = 3, .high = 8, .cycles = 2, .total = 100, .static_steps = 40};
  EXPECT_EQ(with_static.period(), 30);
  EXPECT_EQ(with_static.bits(60), 8);
  EXPECT_EQ(with_static.bits(30), 3);
}

TEST(CyclicPrecision, OtherShapesUseTheSameWidths) {
  CyclicSchedule schedule = one_cycle(3, 8, 30);
  const std::vector<int> up = bits_of(schedule, 30);
  schedule.shape = CycleShape::CosineDown;
  std::vector<int> down = bits_of(schedule, 30);
  std::reverse(down.begin(), down.end());
  EXPECT_EQ(down, up);
  schedule.shape = CycleShape::Triangle;
  const std::vector<int> triangle = bits_of(schedule, 30);
  EXPECT_EQ(triangle.front(), 3);
  EXPECT_EQ(triangle.back(), 3);
  EXPECT_EQ(*std::max_element(triangle.begin(), triangle.end()), 8);
  schedule.shape = CycleShape::Shuffled;
  std::vector<int> shuffled = bits_of(schedule, 30);
  EXPECT_NE(shuffled, up);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, up);  // the same histogram, so the same cost
}

TEST(CyclicPrecision, ImpossibleSchedulesAreRefused) {
  EXPECT_MENTIONS(error_text([] { CyclicSchedule{.low = 3, .high = 8, .cycles = 32, .total = 100}.bits(0); }),
                  "100 steps make 32 cycles of 3");
  EXPECT_THROW((CyclicSchedule{.low = 8, .high = 3, .cycles = 1, .total = 100}.bits(0)), UsageError);
  EXPECT_THROW((CyclicSchedule{.low = 1, .high = 3, .cycles = 1, .total = 100}.bits(0)), UsageError);
  EXPECT_THROW((CyclicSchedule{.low = 3, .high = 8, .cycles = 0, .total = 100}.bits(0)), UsageError);
}

// Invariant 7, E3. The ends of each range are exact (FakeQuant.RangeGridIsExactAtItsEnds); here: what the
// layer computes is the
// product of both operands on that grid, and the gradient has no mask.
TEST(CyclicPrecision, ForwardIsTheRangeGrid) {
  const auto model = small_gpt2(Device::CPU);
  CyclicModel cyclic = make_cyclic(*model);
  cyclic.set_precision(3, 16);
  FakeQuantLinear& layer = *cyclic.layers[0];
  Tensor x({4, 8});
  init_normal(x, 1, 1, "x");
  x.set_requires_grad();
  const Tensor x_hat = fake_quant(x.detach(), 3, FakeQuantGrid::Range, 8);
  const Tensor w_hat = fake_quant(layer.weight.detach(), 3, FakeQuantGrid::Range, 8);
  const Tensor y = layer.forward(x);
  EXPECT_EQ(y.to_vector(), linear(x_hat, w_hat, layer.bias).to_vector());
  // Rows of ŵ begin at their smallest weight exactly; a constant row is itself.
  for (int64_t row = 0; row < w_hat.dim(0); ++row) {
    const float* w = layer.weight.data() + row * 8;
    const float* rounded = w_hat.data() + row * 8;
    EXPECT_EQ(*std::min_element(w, w + 8), *std::min_element(rounded, rounded + 8));
  }
  sum(y).backward();
  const Tensor ones = Tensor::full(y.shape, 1);
  EXPECT_EQ(x.grad().to_vector(), matmul(ones, w_hat).to_vector());
  EXPECT_EQ(layer.weight.grad().to_vector(), matmul(ones, x_hat, true).to_vector());
}

// Invariant 8, E4: over draws the weight gradient is what the unrounded output gradient gives (the range of
// dy is its own, so
// nothing is clipped). One draw moves a number of dy by at most a step d; each weight's gradient is a sum of
// 4 such terms
// times |x̂| ≤ 3, so its mean over N draws stays within 5 · (d / 2) · 3 · √4 / √N.
TEST(CyclicPrecision, GradientsAreRounded) {
  const auto model = small_gpt2(Device::CPU);
  CyclicModel cyclic = make_cyclic(*model);
  FakeQuantLinear& layer = *cyclic.layers[0];
  Tensor x({4, 8}), c({4, 24});
  init_uniform(x, 3, 1, "x");
  init_normal(c, 1, 2, "c");
  const auto gradient = [&](int backward_bits, uint64_t seed) {
    dropout_seeds() = {.seed = seed, .calls = 0};
    cyclic.set_precision(8, backward_bits);
    layer.weight.zero_grad();
    sum(mul(layer.forward(x), c)).backward();
    return layer.weight.grad().to_vector();
  };
  const std::vector<float> exact = gradient(16, 0);
  std::vector<double> mean(exact.size(), 0);
  const int draws = 2000;
  for (int d = 0; d < draws; ++d) {
    const std::vector<float> once = gradient(4, uint64_t(d));
    for (size_t i = 0; i < exact.size(); ++i) mean[i] += once[i] / double(draws);
  }
  const auto [low, high] = std::minmax_element(c.data(), c.data() + c.numel());
  const double step = (*high - *low) / 15;
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_NEAR(mean[i], exact[i], 5 * (step / 2) * 3 * 2 / std::sqrt(double(draws)));
  }
  // Without chance it is E3 on the gradient.
  layer.options.stochastic_gradients = false;
  const Tensor x_hat = fake_quant(x, 8, FakeQuantGrid::Range, 8),
               c_hat = fake_quant(c, 4, FakeQuantGrid::Range, 0);
  EXPECT_EQ(gradient(4, 0), matmul(c_hat, x_hat, true).to_vector());
}

// Invariant 9, and E2: a step sets the forward width by the schedule and leaves the backward width where it
// is; changing
// widths alone changes no parameter and no optimiser state.
TEST(CyclicPrecision, BackwardBitsAreHeld) {
  const auto model = small_gpt2(Device::CPU);
  CyclicModel cyclic = make_cyclic(*model);
  Trainer trainer(*model, {.warmup = 0, .steps = 6});
  const CyclicSchedule schedule{.low = 3, .high = 8, .cycles = 1, .total = 6};
  for (int t = 0; t < 6; ++t) {
    cyclic_train_step(cyclic, trainer, schedule, 6, small_batch);
    for (const FakeQuantLinear* layer : cyclic.layers) {
      EXPECT_EQ(layer->precision,
                (LayerBits{.weights = schedule.bits(t), .activations = schedule.bits(t), .gradients = 6}));
    }
  }
  const auto state_of = [&] {
    auto numbers = numbers_of(*model);
    trainer.optimizers[0]->visit_state(
        [&](const std::string& name, const Tensor& t) { numbers[name] = t.to_vector(); });
    return numbers;
  };
  const auto before = state_of();
  for (int bits = 2; bits <= 16; ++bits) cyclic.set_precision(bits, bits);
  EXPECT_EQ(state_of(), before);
}

TEST(CyclicPrecision, EveryProductButTheHeadIsQuantised) {
  const auto model = small_gpt2(Device::CPU);
  EXPECT_EQ(make_cyclic(*model).layers.size(), 8u);  // four a block
  EXPECT_NE(dynamic_cast<Linear*>(find_slot(*model, "lm_head").layer.get()), nullptr);
  EXPECT_MENTIONS(error_text([&] { make_cyclic(*model); }), "no Linear left");
}

TEST(CyclicPrecision, TrainsTheSameTwice) {
  const auto train = [] {
    const auto model = small_gpt2(Device::CPU);
    CyclicModel cyclic = make_cyclic(*model);
    Trainer trainer(*model, sgd(6));
    for (int t = 0; t < 6; ++t) {
      cyclic_train_step(cyclic, trainer, {.low = 3, .high = 8, .cycles = 1, .total = 6}, 8, small_batch);
    }
    return numbers_of(*model);
  };
  EXPECT_EQ(train(), train());
}

// The range test: every width starts from the same weights, so the curve is a function of the width alone; with a threshold
// that nothing reaches, no width is better than the lowest.
TEST(CyclicPrecision, RangeTestComparesWidthsFairly) {
  const auto fresh = [] { return small_gpt2(Device::CPU); };
  const RangeTest test =
      precision_range_test(fresh, sgd(4), {.lowest = 2, .highest = 5, .steps = 4}, small_batch);
  EXPECT_EQ(test.bits, (std::vector<int>{2, 3, 4, 5}));
  const RangeTest alone =
      precision_range_test(fresh, sgd(4), {.lowest = 5, .highest = 5, .steps = 4}, small_batch);
  EXPECT_EQ(alone.losses[0], test.losses[3]);
  const RangeTest strict = precision_range_test(
      fresh, sgd(4), {.lowest = 2, .highest = 5, .steps = 4, .threshold = 100}, small_batch);
  EXPECT_EQ(strict.low, 2);
  EXPECT_EQ(strict.high, 2);
  const RangeTest lenient = precision_range_test(
      fresh, sgd(4), {.lowest = 2, .highest = 5, .steps = 4, .threshold = -100}, small_batch);
  EXPECT_EQ(lenient.low, 3);
  EXPECT_EQ(lenient.high, 5);
}

}  // namespace
}  // namespace chalk
