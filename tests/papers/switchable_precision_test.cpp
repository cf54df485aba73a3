// Switchable precision: the invariants of the fact sheet, in its order. Plans and files: switchable_files_test.cpp.

#include "papers/qat/switchable_precision.h"

#include <gtest/gtest.h>

#include "models/train.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"
#include "tests/papers/switchable_fixture.h"

namespace chalk {
namespace {

std::map<std::string, std::vector<float>> numbers_of(Module& model) {
  std::map<std::string, std::vector<float>> numbers;
  for (const NamedTensor& p : model.parameters()) numbers[p.name] = p.tensor.to_vector();
  return numbers;
}

std::map<std::string, std::vector<float>> gradients_of(Module& model) {
  std::map<std::string, std::vector<float>> gradients;
  for (const NamedTensor& p : model.parameters()) {
    if (p.tensor.has_grad()) gradients[p.name] = p.tensor.grad().to_vector();
  }
  return gradients;
}

// Invariant 1: no hidden state.
TEST_F(SwitchablePrecision, SwitchingBackReproducesTheLogits) {
  SwitchableModel switchable = make_switchable(*model);
  for (int first : {2, 8, 16}) {
    const std::vector<float> before = logits_at(switchable, first, batch);
    for (int other : {2, 4, 6, 8, 16}) logits_at(switchable, other, batch);
    EXPECT_EQ(logits_at(switchable, first, batch), before) << first;
  }
  EXPECT_NE(logits_at(switchable, 2, batch), logits_at(switchable, 4, batch));
}

// Invariant 2, for both architectures.
TEST_F(SwitchablePrecision, TopWidthIsTheFloatModel) {
  for (const char* architecture : {"gpt2", "llama"}) {
    const auto model = ModelCase{architecture, Device::CPU}.make();
    const std::vector<float> plain = model->forward({{batch.B, batch.T}, batch.ids}).to_vector();
    SwitchableModel switchable = make_switchable(*model);
    EXPECT_EQ(logits_at(switchable, 16, batch), plain) << architecture;
    EXPECT_EQ(logits_at(switchable, 32, batch), plain) << architecture;
    EXPECT_NE(logits_at(switchable, 2, batch), plain) << architecture;
  }
}

// Invariant 3: with S = {b} a step is plain QAT, written out here by hand.
TEST_F(SwitchablePrecision, OneWidthIsPlainQat) {
  const SwitchableTraining training{.steps = 3, .warmup = 1, .lr = 1e-3, .clip = 0};
  SwitchableModel switchable = make_switchable(*model, {.widths = {4}});
  SwitchableTrainer trainer(switchable, training);
  for (int i = 0; i < 3; ++i) trainer.train_step(small_batch(uint64_t(i)));

  const auto twin = small_gpt2(Device::CPU);
  SwitchableModel by_hand = make_switchable(*twin, {.widths = {4}});
  by_hand.set_precision(4);
  std::vector<NamedTensor> steps, rest;
  for (const NamedTensor& p : twin->parameters()) {
    (p.name.find("steps_4") != std::string::npos ? steps : rest).push_back(p);
  }
  AdamW weights(rest, {.lr = 1e-3f, .weight_decay = 0.01f}),
      step_sizes(steps, {.lr = 1e-4f, .weight_decay = 0});
  const Schedule schedule{.warmup = 1, .total = 3, .floor = 0.1};
  for (int i = 0; i < 3; ++i) {
    const Batch b = small_batch(uint64_t(i));
    double divisor = 0;
    for (float w : b.weights) divisor += double(w);
    cross_entropy(twin->forward({{b.B, b.T}, b.ids}), b.targets, b.weights, float(divisor)).backward();
    for (AdamW* optimizer : {&weights, &step_sizes}) {
      optimizer->step(schedule.factor(i));
      optimizer->zero_grad();
    }
  }
  EXPECT_EQ(numbers_of(*model), numbers_of(*twin));
}

// Invariant 4 is Distillation.GradientReachesTheStudentOnly and EqualLogitsGiveNoGradient (tests/nn/); here:
// a trainer's loss sends nothing into what the higher widths computed.
TEST_F(SwitchablePrecision, TeachersGetNoGradient) {
  SwitchableModel switchable = make_switchable(*model, {.widths = {4, 16}});
  Tensor top({batch.B, batch.T, V});
  init_normal(top, 1, 1, "top");
  Tensor student = top.clone(), features = Tensor::full({batch.B, batch.T, 8}, 1);
  top.set_requires_grad(), student.set_requires_grad();
  for (Distillation kind :
       {Distillation::Soft, Distillation::Recursive, Distillation::Cascade, Distillation::Teacher}) {
    const SwitchableTrainer trainer(switchable, {.distillation = kind});
    trainer.plan_loss({student, features}, {{top, features}}, false, batch).backward();
    EXPECT_FALSE(top.has_grad());
  }
}

// Invariant 5, E1: the gradient of a step is the mean of what each width gives alone. The products add into
// what is there, so the order of additions differs: a few roundings of numbers below one.
TEST_F(SwitchablePrecision, GradientIsTheMeanOverWidths) {
  const SwitchableTraining training{.distillation = Distillation::Hard, .lr = 0, .step_lr = 0, .clip = 0};
  SwitchableModel switchable = make_switchable(*model, {.widths = {2, 4, 16}});
  const SwitchableTrainer trainer(switchable, training);
  std::map<std::string, std::vector<float>> sum;
  const auto backward_of = [&](int bits) {
    switchable.set_precision(bits);
    const Tensor logits = model->forward({{batch.B, batch.T}, batch.ids});
    scale(trainer.plan_loss({logits, {}}, {}, true, batch), 1.0f / 3).backward();
  };
  for (int bits : {16, 4, 2}) {
    model->zero_grad();
    backward_of(bits);
    for (const auto& [name, gradient] : gradients_of(*model)) {
      std::vector<float>& total = sum[name];
      total.resize(gradient.size(), 0);
      for (size_t i = 0; i < gradient.size(); ++i) total[i] += gradient[i];
    }
  }
  model->zero_grad();
  for (int bits : {16, 4, 2}) backward_of(bits);
  for (const auto& [name, gradient] : gradients_of(*model))
    EXPECT_TRUE(all_near(gradient, sum[name], 1e-5)) << name;
}

// Invariant 6: what the widths of this step do not use stays as it is, moments included.
TEST_F(SwitchablePrecision, PrivateParametersOfOtherWidthsStay) {
  SwitchableModel switchable = make_switchable(*model, {.widths = {2, 4, 16}});
  SwitchableTrainer trainer(switchable, {.strategy = SwitchStrategy::Scheduled, .schedule = {4}});
  const auto before = numbers_of(*model);
  trainer.train_step(batch);
  trainer.train_step(batch);
  for (const auto& [name, numbers] : numbers_of(*model)) {
    const bool of_two = name.find("bits_2.") != std::string::npos || name.ends_with("steps_2");
    bool of_sixteen = false;  // the float model's norms inside the blocks
    for (const char* end : {"ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"})
      of_sixteen |= name.ends_with(end);
    if (of_two || of_sixteen) {
      EXPECT_EQ(numbers, before.at(name)) << name;
    } else {
      EXPECT_NE(numbers, before.at(name)) << name;
    }
  }
  trainer.weights->visit_state([](const std::string& name, const Tensor& state) {
    if (name.find("bits_2.") == std::string::npos) return;
    for (float moment : state.to_vector()) EXPECT_EQ(moment, 0) << name;
  });
}

// Invariant 7, E6: the codes of fewer bits are the leading bits of more, for all weights.
TEST_F(SwitchablePrecision, NestedCodesShift) {
  const std::vector<float> golden = {-1, -0.4f, 0.1f, 0.5f, 1};
  EXPECT_EQ(nested_codes(golden.data(), 5, 4), (std::vector<int32_t>{0, 4, 8, 12, 15}));
  EXPECT_EQ(nested_codes(golden.data(), 5, 2), (std::vector<int32_t>{0, 1, 2, 3, 3}));
  EXPECT_EQ(nested_weights(Tensor::from({1, 5}, golden), 2).to_vector(),
            (std::vector<float>{-0.75f, -0.25f, 0.25f, 0.75f, 0.75f}));
  Tensor w({1, 5000});
  init_normal(w, 0.3f, 1, "w");
  for (int m = 2; m <= 8; ++m) {
    const std::vector<int32_t> wide = nested_codes(w.data(), w.numel(), m);
    for (int n = 1; n < m; ++n) {
      const std::vector<int32_t> narrow = nested_codes(w.data(), w.numel(), n);
      for (size_t i = 0; i < wide.size(); ++i) ASSERT_EQ(narrow[i], wide[i] >> (m - n));
    }
    EXPECT_EQ(*std::min_element(wide.begin(), wide.end()), 0);
    EXPECT_EQ(*std::max_element(wide.begin(), wide.end()), (1 << m) - 1);
  }
}

// Invariant 8.
TEST_F(SwitchablePrecision, SamplersUseTheWidthsAsTheySay) {
  const std::vector<int> widths = {2, 4, 8};
  const auto widths_of = [&](SwitchableTraining t, int64_t steps) {
    std::vector<int> used;
    for (int64_t step = 0; step < steps; ++step) {
      const std::vector<PrecisionPlan> plans = plans_of_step(t, widths, 2, step);
      EXPECT_EQ(plans.size(), 1u);
      EXPECT_EQ(plans[0][0], plans[0][1]);
      used.push_back(plans[0][0].attn_bits);
    }
    return used;
  };
  SwitchableTraining t{.strategy = SwitchStrategy::Cyclic, .interval = 5, .steps = 90};
  const std::vector<int> cyclic = widths_of(t, 90);
  EXPECT_EQ(std::vector<int>(cyclic.begin(), cyclic.begin() + 16),
            (std::vector<int>{2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 2}));
  for (int bits : widths) EXPECT_EQ(std::count(cyclic.begin(), cyclic.end(), bits), 30);

  t.strategy = SwitchStrategy::Progressive;
  const std::vector<int> progressive = widths_of(t, 90);
  EXPECT_TRUE(std::is_sorted(progressive.rbegin(), progressive.rend()));
  for (int bits : widths) EXPECT_EQ(std::count(progressive.begin(), progressive.end(), bits), 30);

  t.strategy = SwitchStrategy::Random, t.interval = 1;
  const std::vector<int> random = widths_of(t, 3000);
  EXPECT_EQ(random, widths_of(t, 3000));
  // 3000 draws of three: 1000 ± 5 standard deviations of √(3000 · 1/3 · 2/3) = 26.
  for (int bits : widths) EXPECT_NEAR(std::count(random.begin(), random.end(), bits), 1000, 130);
  t.seed = 2;
  EXPECT_NE(random, widths_of(t, 3000));

  t.strategy = SwitchStrategy::Scheduled, t.schedule = {8, 2}, t.interval = 2;
  EXPECT_EQ(widths_of(t, 6), (std::vector<int>{8, 8, 2, 2, 8, 8}));
  t.schedule.clear();
  EXPECT_MENTIONS(error_text([&] { plans_of_step(t, widths, 2, 0); }), "needs a schedule");
}

TEST_F(SwitchablePrecision, JointSandwichAndPerLayerPlans) {
  const auto first = [](const std::vector<PrecisionPlan>& plans) {
    std::vector<int> bits;
    for (const PrecisionPlan& plan : plans) bits.push_back(plan[0].attn_bits);
    return bits;
  };
  EXPECT_EQ(first(plans_of_step({}, {2, 4, 8, 16}, 3, 7)), (std::vector<int>{16, 8, 4, 2}));
  const SwitchableTraining sandwich{.strategy = SwitchStrategy::Sandwich};
  for (int64_t step = 0; step < 50; ++step) {
    const std::vector<int> bits = first(plans_of_step(sandwich, {2, 4, 6, 8, 16}, 3, step));
    EXPECT_EQ(bits.front(), 16);
    EXPECT_EQ(bits.back(), 2);
    EXPECT_TRUE(bits.size() == 3 || bits.size() == 4);
    EXPECT_TRUE(std::is_sorted(bits.rbegin(), bits.rend()));
  }
  // Independent layers: 600 draws of a plan of six numbers; each width turns up at each place.
  const SwitchableTraining per_layer{.strategy = SwitchStrategy::RandomPerLayer, .interval = 1};
  std::map<std::pair<int, int>, int> seen;  // (place, width) -> times
  for (int64_t step = 0; step < 600; ++step) {
    const PrecisionPlan plan = plans_of_step(per_layer, {2, 4, 8}, 3, step)[0];
    for (int l = 0; l < 3; ++l)
      seen[{2 * l, plan[size_t(l)].attn_bits}]++, seen[{2 * l + 1, plan[size_t(l)].mlp_bits}]++;
  }
  // 200 ± 5 · √(600 · 2/9) = 58
  for (const auto& [place, times] : seen)
    EXPECT_NEAR(times, 200, 58) << place.first << " at " << place.second;
  EXPECT_EQ(seen.size(), 18u);
}

// E7: every private norm starts as a copy, and follows the product that reads it.
TEST_F(SwitchablePrecision, PrivateNormsFollowTheirConsumer) {
  SwitchableModel switchable = make_switchable(*model, {.widths = {2, 4}});
  switchable.set_layer_precision(0, {.attn_bits = 4, .mlp_bits = 2});
  const auto norm = [&](const char* slot) {
    return dynamic_cast<PrecisionNorm*>(find_slot(*model, slot).layer.get());
  };
  EXPECT_EQ(norm("h.0.ln_1")->bits, 4);
  EXPECT_EQ(norm("h.0.ln_2")->bits, 2);
  EXPECT_EQ(norm("h.1.ln_1")->bits, 16);
  EXPECT_EQ(norm("ln_f"), nullptr);  // the head reads it, and the head stays float
  const auto weights = numbers_of(*model);
  EXPECT_EQ(weights.at("h.0.ln_1.bits_4.weight"), weights.at("h.0.ln_1.weight"));
  const auto linear = [&](const char* slot) {
    return dynamic_cast<FakeQuantLinear*>(find_slot(*model, slot).layer.get());
  };
  EXPECT_EQ(linear("h.0.attn.c_proj")->precision, (LayerBits{.weights = 4, .activations = 8}));
  EXPECT_EQ(linear("h.0.mlp.c_fc")->precision, (LayerBits{.weights = 2, .activations = 8}));
  EXPECT_EQ(linear("h.1.mlp.c_fc")->precision, LayerBits{});
  // A changed gain of 4 bits is seen at 4 bits only.
  const std::vector<float> two = logits_at(switchable, 2, batch), four = logits_at(switchable, 4, batch);
  dynamic_cast<LayerNorm*>(norm("h.0.ln_1")->norms.at(4).get())->weight.fill(2);
  EXPECT_EQ(logits_at(switchable, 2, batch), two);
  EXPECT_NE(logits_at(switchable, 4, batch), four);
}

// E4 written out: labels plus β times the squared distances to all higher logits.
TEST_F(SwitchablePrecision, CascadeIsItsFormula) {
  SwitchableModel switchable = make_switchable(*model);
  const SwitchableTrainer trainer(switchable,
                                  {.distillation = Distillation::Cascade, .distillation_weight = 0.5f});
  std::vector<SwitchableOutput> outputs;
  for (int i = 0; i < 3; ++i) {
    Tensor logits({batch.B, batch.T, V});
    init_normal(logits, 1, uint64_t(i), "z");
    outputs.push_back({logits, {}});
  }
  double weights = 0, squares = 0;
  for (float w : batch.weights) weights += double(w);
  for (int64_t n = 0; n < batch.B * batch.T; ++n) {
    for (int64_t v = 0; v < V; ++v) {
      for (int teacher : {0, 1}) {
        const double d =
            double(outputs[2].logits.data()[n * V + v]) - outputs[size_t(teacher)].logits.data()[n * V + v];
        squares += batch.weights[size_t(n)] * d * d;
      }
    }
  }
  const double labels = cross_entropy(outputs[2].logits, batch.targets, batch.weights, float(weights)).item();
  const double loss = trainer.plan_loss(outputs[2], {outputs[0], outputs[1]}, false, batch).item();
  EXPECT_NEAR(loss, labels + 0.5 * squares / (weights * V), 1e-5);
}

// E2, E3 and the rest: each lowers the cross-entropy of every width that it trains, on a batch seen forty
// times.
TEST_F(SwitchablePrecision, EveryDistillationTrains) {
  for (Distillation kind : {Distillation::Hard, Distillation::Soft, Distillation::Recursive,
                            Distillation::Features, Distillation::Cascade, Distillation::Teacher}) {
    const auto fresh = small_gpt2(Device::CPU);
    SwitchableModel switchable = make_switchable(*fresh, {.widths = {2, 4, 16}});
    SwitchableTrainer trainer(switchable,
                              {.distillation = kind, .steps = 40, .warmup = 1, .lr = 1e-2, .step_lr = 1e-3});
    const std::vector<double> before = trainer.train_step(batch);
    std::vector<double> after;
    for (int i = 1; i < 40; ++i) after = trainer.train_step(batch);
    for (size_t width = 0; width < 3; ++width)
      EXPECT_LT(after[width], before[width]) << int(kind) << " " << width;
  }
}

TEST_F(SwitchablePrecision, FrozenTeacherAndEveryStrategyTrain) {
  const auto teacher = small_gpt2(Device::CPU);
  for (SwitchStrategy strategy : {SwitchStrategy::Sandwich, SwitchStrategy::Cyclic, SwitchStrategy::Random,
                                  SwitchStrategy::RandomPerLayer, SwitchStrategy::Progressive}) {
    const auto fresh = small_gpt2(Device::CPU);
    SwitchableModel switchable = make_switchable(*fresh, {.widths = {2, 4, 16}});
    SwitchableTrainer trainer(switchable, {.strategy = strategy, .interval = 1, .steps = 6}, teacher.get());
    const auto before = numbers_of(*teacher);
    for (int i = 0; i < 6; ++i) trainer.train_step(batch);
    EXPECT_EQ(numbers_of(*teacher), before);
    EXPECT_NE(numbers_of(*fresh).at("h.0.mlp.c_fc.weight"), before.at("h.0.mlp.c_fc.weight"))
        << int(strategy);
  }
}

// A smaller learning rate at 2 bits: the factor of the plan multiplies the update. Adam's first update is lr
// · sign.
TEST_F(SwitchablePrecision, LearningRateByPrecision) {
  const auto moved = [&](std::map<int, double> factors) {
    const auto fresh = small_gpt2(Device::CPU);
    SwitchableModel switchable = make_switchable(*fresh, {.widths = {2}});
    const float before = fresh->parameters()[0].tensor.data()[V];
    SwitchableTrainer trainer(switchable, {.warmup = 0, .weight_decay = 0, .lr_by_bits = std::move(factors)});
    trainer.train_step(batch);
    return fresh->parameters()[0].tensor.data()[V] - before;
  };
  const float whole = moved({}), half = moved({{2, 0.5}});
  EXPECT_NE(whole, 0);
  EXPECT_NEAR(half, whole / 2, 1e-6);  // the difference of two numbers near 0.3 is known to 2 · 2⁻²⁵
}

TEST_F(SwitchablePrecision, TrainingIsReproducible) {
  const auto train = [&] {
    const auto fresh = small_gpt2(Device::CPU);
    SwitchableModel switchable = make_switchable(*fresh);
    SwitchableTrainer trainer(switchable, {.strategy = SwitchStrategy::Sandwich});
    for (int i = 0; i < 3; ++i) trainer.train_step(batch);
    return numbers_of(*fresh);
  };
  EXPECT_EQ(train(), train());
}

}  // namespace
}  // namespace chalk
