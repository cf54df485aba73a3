// AWQ's invariants (the numbers in brackets are the fact sheet's list of unit tests).

#include "papers/quantization/awq.h"

#include "models/outliers.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

std::vector<float> normals(int64_t count, uint64_t seed, float std = 1) {
  std::vector<float> x;
  for (int64_t i = 0; i < count; ++i) x.push_back(std * random_normal(seed, uint64_t(i)));
  return x;
}

AwqOptions small_groups(int bits = 3) {
  return {.bits = bits, .group_size = 4};
}

// One group of a model, with what enters it and what its module gives.
struct Recorded {
  FoldingGroup group;
  Tensor x, y;
};

std::vector<Recorded> recorded_groups(LanguageModel& model) {
  NoGrad no_grad;
  std::vector<Recorded> all;
  std::vector<Tensor> next;
  for (BlockWalk walk(model, {some_ids(3, 9)}); !walk.done(); walk.advance(std::move(next))) {
    const std::vector<FoldingGroup> groups = folding_groups(model, walk.index);
    const std::map<std::string, Tensor> inputs = record_inputs(walk, groups, next);
    for (const FoldingGroup& group : groups) {
      const Tensor x = inputs.at(group.input);
      all.push_back({group, x, group.forward(x)});
    }
  }
  return all;
}

// ---- scales ----

// [3] s = 1 for α = 0, and max s · min s = 1 for every α.
TEST(AwqTest, ScalesAreNormalised) {
  std::vector<float> a;
  for (float x : normals(64, 1)) a.push_back(std::abs(x));
  a[5] = 0;  // a dead channel
  EXPECT_EQ(awq_scales(a, {}, 0), std::vector<float>(64, 1));
  for (int k = 1; k < 20; ++k) {
    const std::vector<float> s = awq_scales(a, {}, k / 20.0);
    const auto [smallest, largest] = std::minmax_element(s.begin(), s.end());
    EXPECT_NEAR(double(*smallest) * *largest, 1, 1.2e-7);  // two roundings to float, 2⁻²⁴ each
    // a^α: the ratio of two channels that are not at the floor.
    EXPECT_NEAR(double(s[0]) / s[1], std::pow(double(a[0]) / a[1], k / 20.0), 4e-7 * s[0] / s[1]);
  }
}

// [4] Constant magnitudes leave nothing to scale.
TEST(AwqTest, ConstantActivationsGiveNoScales) {
  for (float level : {0.003f, 1.0f, 77.7f})
    for (int k = 0; k < 20; ++k)
      EXPECT_EQ(awq_scales(std::vector<float>(8, level), {}, k / 20.0), std::vector<float>(8, 1));
}

TEST(AwqTest, MagnitudeIsTheMeanOfAbsolutes) {
  const Tensor x = Tensor::from({1, 3, 2}, {1, -4, -2, 0, 3, 1});
  EXPECT_TRUE(all_near(activation_magnitude(x), {2, 5.0f / 3}, 1e-7));
}

// AutoAWQ's rule on numbers worked out by hand: a = (4, 1), w̄ = (0.25, 1), α = 0.5:
// 2 / (0.5 + 1e-4) and 1 / (1 + 1e-4), divided by the root of their product.
TEST(AwqTest, DuoScalingIsAutoAwqsRule) {
  const double first = 2 / 0.5001, second = 1 / 1.0001, norm = std::sqrt(first * second);
  EXPECT_TRUE(
      all_near(awq_scales({4, 1}, {0.25f, 1}, 0.5), {float(first / norm), float(second / norm)}, 1e-6));
  const auto model = small_gpt2(Device::CPU);
  const FoldingGroup up = folding_groups(*model, 0)[2];  // c_fc, (32, 8)
  const std::vector<float> w = linear_in(*up.readers[0]).weight.to_vector(),
                           mean = weight_magnitude(up, small_groups());
  double expected = 0;
  for (int row = 0; row < 32; ++row) {
    const float* group = w.data() + row * 8 + 4;
    float most = 0;
    for (int i = 0; i < 4; ++i) most = std::max(most, std::abs(group[i]));
    expected += std::abs(group[1]) / (most + 1e-6) / 32;
  }
  EXPECT_NEAR(mean[5], expected, 1e-6);
}

// [2] The chosen loss is never above that of α = 0, which is plain rounding to the last bit.
TEST(AwqTest, ChosenLossIsNeverAboveRounding) {
  for (const ModelCase& c : kModelCases) {
    const auto model = c.make();
    for (const Recorded& r : recorded_groups(*model)) {
      NoGrad no_grad;
      const ScaleSearch search = search_scales(r.group, r.x, small_groups());
      EXPECT_LE(search.loss, search.losses[0]) << r.group.input;
      EXPECT_EQ(search.loss, *std::min_element(search.losses.begin(), search.losses.end()));
      std::vector<Tensor> original;
      for (Slot* reader : r.group.readers) {
        const Tensor weight = linear_in(*reader).weight;
        original.push_back(weight.clone());
        const std::vector<float> w =
            rounded(weight.to_vector(), weight.dim(0), weight.dim(1), small_groups());
        weight.copy_from(Tensor::from(weight.shape, w));
      }
      EXPECT_EQ(search.losses[0], mean_square_difference(r.group.forward(r.x), r.y)) << r.group.input;
      for (size_t i = 0; i < original.size(); ++i)
        linear_in(*r.group.readers[i]).weight.copy_from(original[i]);
      EXPECT_TRUE(all_near(r.group.forward(r.x), r.y, 0)) << "the search left weights behind";
    }
  }
}

// ---- rounding ----

// [5] Q(c·W)/c = Q(W): exactly for powers of two, within roundings for others, and not below the floor of 1e-5.
TEST(AwqTest, ACommonFactorChangesNothing) {
  const std::vector<float> w = normals(16 * 32, 4, 0.1f);
  const AwqOptions options{.bits = 3, .group_size = 8};
  const std::vector<float> expected = rounded(w, 16, 32, options);
  for (float c : {0.125f, 4.0f, 3.7f, 0.61f}) {
    std::vector<float> scaled = w;
    for (float& x : scaled) x *= c;
    scaled = rounded(scaled, 16, 32, options);
    for (float& x : scaled) x /= c;
    // Four roundings on the way: of c·w (in the step), the step, code · step, the quotient.
    const double tolerance = c == 0.125f || c == 4 ? 0 : 4 * 6e-8;
    EXPECT_TRUE(all_near(scaled, expected, tolerance)) << c;
  }
  std::vector<float> tiny = w;
  for (float& x : tiny) x *= 1e-6f;
  EXPECT_FALSE(all_near(rounded(tiny, 16, 32, options), tiny, 1e-9));  // the step is 1e-5 / 7: all become 0
}

// [7] Codes in range, 0 exact when it is in the range, errors of at most a step.
TEST(AwqTest, GridIsTheAuthors) {
  for (int bits : {2, 3, 4, 8}) {
    std::vector<float> w = normals(24 * 16, uint64_t(bits));
    for (size_t k = 0; k < w.size(); k += 4) w[k] = 0;
    const AwqOptions options = small_groups(bits);
    const QuantizedMatrix q = round_to_nearest(w.data(), 24, 16, awq_grid(options));
    const std::vector<float> w_hat = dequantize(q);
    for (size_t k = 0; k < w.size(); ++k) {
      EXPECT_LT(q.codes[k], 1 << bits);
      const auto [low, high] =
          std::minmax_element(w.begin() + int64_t(k / 4 * 4), w.begin() + int64_t(k / 4 * 4) + 4);
      if (*low > 0 || *high < 0) continue;
      // Half a step of rounding, and half a step because the zero is rounded as well.
      EXPECT_LE(std::abs(w_hat[k] - w[k]), w[k] == 0 ? 0 : q.scales[k / 4] * 1.0001);
    }
  }
  // All of one sign and far from 0: the zero is clamped and the group misrepresented (sheet, gotcha 3). Reproduced.
  const std::vector<float> far = {10, 10.5f, 11, 10.25f};
  const std::vector<float> w_hat = rounded(far, 1, 4, small_groups(4));
  EXPECT_LT(w_hat[0], 2);
}

// Eq. (1), (2): enlarging one column of each group by s leaves its rounding error at the output Δ'/(Δ·s) times as large.
TEST(AwqTest, ScalingOneColumnShrinksItsError) {
  const int64_t rows = 4096, g = 32;
  const std::vector<float> w = normals(rows * g, 8);
  const AwqOptions options{.bits = 3, .group_size = g};
  const float s = 2;
  std::vector<float> factor(size_t(g), 1);
  factor[7] = s;
  const std::vector<float> plain = rounded(w, rows, g, options),
                           scaled = scaled_and_rounded(w, rows, factor, options);
  double error = 0, scaled_error = 0, step = 0, scaled_step = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const size_t k = size_t(row * g + 7);
    error += std::abs(plain[k] - w[k]), scaled_error += std::abs(scaled[k] - w[k]);
    std::vector<float> group(w.begin() + row * g, w.begin() + row * g + g);
    step += find_scale(group.data(), g, awq_grid(options)).scale;
    group[7] *= s;
    scaled_step += find_scale(group.data(), g, awq_grid(options)).scale;
  }
  // RoundErr is uniform in ±1/2: its mean |.| is 0.25 steps, with a relative spread of 0.577/√4096 = 0.9 % for each sum;
  // 5 % is four spreads of the ratio. (Eq. 2: the same RoundErr whatever s.)
  EXPECT_NEAR(error / step, 0.25, 0.25 * 0.05);
  EXPECT_NEAR(scaled_error / error, scaled_step / step / s, 0.05 * scaled_step / step / s);
  EXPECT_LT(scaled_error, 0.65 * error);
}

// Two groups of two: enlarging column 0 by 4 moves the maximum of the first group only.
TEST(AwqTest, StepOfTheAnalysis) {
  const ScalingEffect effect = scaling_effect({1, 2, 3, -4}, 4, {0}, 4, {.bits = 3, .group_size = 2});
  EXPECT_DOUBLE_EQ(effect.changed_groups, 0.5);
  EXPECT_DOUBLE_EQ(effect.step_ratio, (2 + 1) / 2.0);
  EXPECT_DOUBLE_EQ(effect.error_factor, 1.5 / 4);
  const ScalingEffect none = scaling_effect({1, 2, 3, -4}, 4, {0}, 1, {.bits = 3, .group_size = 2});
  EXPECT_EQ(none.changed_groups, 0);
  EXPECT_EQ(none.step_ratio, 1);
}

// ---- clipping ----

// The Gram form is the paper's: the mean over tokens of the squared change of the group's part of the output.
TEST(AwqTest, ClipErrorIsTheMeanOverTokens) {
  const int64_t g = 8, tokens = 50;
  const std::vector<float> x = normals(tokens * g, 1), w = normals(g, 2);
  const AwqOptions options{.bits = 3, .group_size = g};
  const float bound = 0.8f;
  std::vector<float> clamped = w;
  for (float& value : clamped) value = std::clamp(value, -bound, bound);
  const std::vector<float> w_hat = rounded(clamped, 1, g, options);
  double expected = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    double change = 0;
    for (int64_t i = 0; i < g; ++i)
      change += double(x[size_t(t * g + i)]) * (double(w_hat[size_t(i)]) - w[size_t(i)]);
    expected += change * change / double(tokens);
  }
  EXPECT_NEAR(clip_error(w.data(), g, bound, gram(x, g, 0, g), options), expected, 1e-12 * expected);
}

// [6] Never above the error without clipping, one bound for each (row, group), from the ten candidates.
TEST(AwqTest, ClippingNeverRaisesItsError) {
  const int64_t rows = 24, columns = 22;  // the last group has 2
  const std::vector<float> w = normals(rows * columns, 3), x = normals(100 * columns, 5);
  const ClipSearch search = search_clip(w, x, columns, {.bits = 3, .group_size = 4});
  ASSERT_EQ(search.bounds.size(), size_t(rows * 6));
  int64_t clipped = 0;
  for (size_t cell = 0; cell < search.bounds.size(); ++cell) {
    EXPECT_LE(search.errors[cell], search.unclipped[cell]);
    float largest = 0;
    const size_t begin = cell / 6 * size_t(columns) + cell % 6 * 4, n = cell % 6 == 5 ? 2 : 4;
    for (size_t i = begin; i < begin + n; ++i) largest = std::max(largest, std::abs(w[i]));
    const float share = search.bounds[cell] / largest * 20;
    EXPECT_NEAR(share, std::round(share), 1e-4);
    EXPECT_GE(share, 10.99);
    clipped += search.bounds[cell] < largest;
  }
  EXPECT_GT(clipped, 0);
}

// [6] Queries and keys keep their weights; values, outputs and MLPs may be clipped.
TEST(AwqTest, QueriesAndKeysAreNotClipped) {
  for (const char* name : {"layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj", "h.0.attn.c_attn"})
    EXPECT_TRUE(is_query_or_key(name));
  for (const char* name :
       {"layers.0.self_attn.v_proj", "layers.0.self_attn.o_proj", "layers.0.mlp.gate_proj",
        "layers.0.mlp.up_proj", "layers.0.mlp.down_proj", "h.0.attn.c_proj", "h.0.mlp.c_fc"})
    EXPECT_FALSE(is_query_or_key(name));
  const auto model = small_llama(Device::CPU);
  std::vector<FoldingGroup> groups = folding_groups(*model, 0);
  std::map<std::string, std::vector<float>> before;
  for (Slot* slot : slots_of(*model, Slot::Kind::Projection))
    before[slot->name] = linear_in(*slot).weight.to_vector();
  NoGrad no_grad;
  std::vector<Tensor> next;
  BlockWalk walk(*model, {some_ids(3, 9)});
  const auto inputs = record_inputs(walk, groups, next);
  AwqOptions options = small_groups(2);
  options.scale_search = false;
  AwqResult result;
  transform_block(groups, inputs, options, result);
  const auto changed = [&](const std::string& name) {
    return linear_in(find_slot(*model, name)).weight.to_vector() != before[name];
  };
  EXPECT_FALSE(changed("layers.0.self_attn.q_proj") || changed("layers.0.self_attn.k_proj"));
  EXPECT_TRUE(changed("layers.0.self_attn.v_proj") && changed("layers.0.mlp.up_proj") && result.clipped > 0);
}

// Fewer calibration tokens than clip_tokens: every one is used; the inputs are those of the scaled model.
TEST(AwqTest, FewTokensGiveAStrideOfOne) {
  const Tensor x = Tensor::from({1, 3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(clip_inputs(x, {}, 512), x.to_vector());
  EXPECT_EQ(clip_inputs(x, {2, 0.5f}, 1), (std::vector<float>{0.5f, 4}));
}

// ---- whole models ----

// Every group of 4 inputs gets weights of both signs: AWQ's grid misrepresents groups of one sign (AwqTest.GridIsTheAuthors).
void give_both_signs(LanguageModel& model) {
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    const Tensor weight = linear_in(*slot).weight;
    for (int64_t k = 0; k < weight.numel(); ++k)
      if (k % 4 < 2) weight.data()[k] = (k % 4 == 0 ? 1.0f : -1.0f) * std::abs(weight.data()[k]);
  }
}

// With 8 bits and all searches on, the transformed model is nearly the old one: folding, clipping and rounding fit together.
TEST(AwqTest, EightBitsStayClose) {
  for (const ModelCase& c : kModelCases) {
    NoGrad no_grad;
    const auto model = c.make();
    give_both_signs(*model);
    const IntTensor ids = some_ids(3, 9);
    const Tensor before = model->forward(ids), zero(before.shape);
    const AwqResult result = quantize_awq(*model, ids, {.bits = 8, .group_size = 4});
    // A product's relative error is about 2⁻⁸/√12 · range/deviation = 0.3 %; eight to fourteen products in a row add up to
    // 1 %, and clipping may cost as much again.
    const double error = mean_square_difference(model->forward(ids), before),
                 size = mean_square_difference(before, zero);
    EXPECT_LT(std::sqrt(error / size), 0.02) << c.architecture;
    EXPECT_EQ(result.searches.size(), 8u);
    EXPECT_EQ(result.layers.size(), c.architecture == std::string("gpt2") ? 8u : 14u);
    for (const auto& [name, matrix] : result.layers)
      EXPECT_EQ(linear_in(find_slot(*model, name)).weight.to_vector(), dequantize(matrix)) << name;
  }
}

TEST(AwqTest, NoSearchIsRoundToNearest) {
  NoGrad no_grad;
  const auto model = small_gpt2(Device::CPU), other = small_gpt2(Device::CPU);
  AwqOptions options = small_groups(4);
  options.scale_search = options.clip_search = false;
  quantize_awq(*model, some_ids(2, 5), options);
  for (Slot* slot : slots_of(model->block(1), Slot::Kind::Projection)) {
    const Tensor w = linear_in(find_slot(*other, slot->name)).weight;
    QuantizedMatrix matrix = round_to_nearest(w.to_vector().data(), w.dim(0), w.dim(1), awq_grid(options));
    round_scales_to_half(matrix, w.to_vector());
    EXPECT_EQ(linear_in(*slot).weight.to_vector(), dequantize(matrix));
  }
}

// [9] Groups that do not divide a row are refused, unless a short one is allowed; o_proj under GQA is rounded unscaled.
TEST(AwqTest, GroupSizesAndSharedHeadsAreHonoured) {
  const auto model = small_llama(Device::CPU);
  AwqOptions options{.bits = 4, .group_size = 8};  // down_proj has 20 inputs
  EXPECT_MENTIONS(error_text([&] { quantize_awq(*model, some_ids(2, 5), options); }),
                  "20 inputs of layers.0.mlp.down_proj");
  options.short_groups = true;
  const auto fresh = small_llama(Device::CPU);
  const AwqResult result = quantize_awq(*fresh, some_ids(2, 5), options);
  EXPECT_EQ(result.layers.at("layers.0.mlp.down_proj").groups(), 3);
  EXPECT_FALSE(result.searches[1].applied);
  EXPECT_TRUE(result.searches[1].scales.empty());
  EXPECT_TRUE(result.searches[0].applied && result.searches[2].applied && result.searches[3].applied);
}

TEST(AwqTest, ImpossibleOptionsAreRefused) {
  const auto model = small_gpt2(Device::CPU);
  for (const AwqOptions& options :
       {AwqOptions{.group_size = 0}, AwqOptions{.group_size = -2}, AwqOptions{.alphas = 0},
        AwqOptions{.clip_grid = 0}, AwqOptions{.clip_tokens = 0}, AwqOptions{.bits = 9, .group_size = 4}})
    EXPECT_THROW(quantize_awq(*model, some_ids(2, 5), options), UsageError);
}

// GPT-2's mlp.c_proj can be left out; then no slot holds a division.
TEST(AwqTest, DivisionAfterTheActivationIsAnOption) {
  const auto model = small_gpt2(Device::CPU), without = small_gpt2(Device::CPU);
  EXPECT_TRUE(quantize_awq(*model, some_ids(2, 5), small_groups()).searches[3].applied);
  EXPECT_NE(layer_in(find_slot(*model, "h.0.mlp.c_proj")), find_slot(*model, "h.0.mlp.c_proj").layer);
  AwqOptions options = small_groups();
  options.scale_after_activation = false;
  EXPECT_FALSE(quantize_awq(*without, some_ids(2, 5), options).searches[3].applied);
  EXPECT_EQ(layer_in(find_slot(*without, "h.0.mlp.c_proj")), find_slot(*without, "h.0.mlp.c_proj").layer);
}

// ---- the observations ----

TEST(AwqTest, SalientChannelsAreTheLargest) {
  const std::vector<float> a = {1, 9, 2, 8}, w = {3, 0, 0, 1, 0, 0, 2, 1};  // (2, 4)
  EXPECT_EQ(salient_channels(Salience::Activation, a, w, 0.5, 1), (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(salient_channels(Salience::WeightNorm, a, w, 0.5, 1), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(salient_channels(Salience::Random, a, w, 0.01, 1).size(), 1u);
}

// Keeping every channel is keeping the model.
TEST(AwqTest, KeepingAllChannelsKeepsTheModel) {
  NoGrad no_grad;
  const auto model = small_llama(Device::CPU);
  const Tensor before = model->forward(some_ids(2, 5));
  round_except_salient(*model, some_ids(2, 5), Salience::WeightNorm, 1, small_groups());
  EXPECT_TRUE(all_near(model->forward(some_ids(2, 5)), before, 0));
}

// A sharp outlier channel: AWQ's products are closer to the float ones than rounding's, and its scale is the largest.
TEST(AwqTest, OutlierChannelsAreProtected) {
  NoGrad no_grad;
  const auto model = small_llama(Device::CPU), plain = small_llama(Device::CPU);
  const IntTensor ids = some_ids(3, 9);
  for (LanguageModel* m : {model.get(), plain.get()})
    inject_outliers(*m, {.fraction = 0.125, .factor = 64, .seed = 2});
  const int64_t outlier =
      inject_outliers(*small_llama(Device::CPU), {.fraction = 0.125, .factor = 64, .seed = 2}).channels[0];
  const Tensor before = model->forward(ids);
  AwqOptions options = small_groups(4);
  const AwqResult result = quantize_awq(*model, ids, options);
  options.scale_search = options.clip_search = false;
  quantize_awq(*plain, ids, options);
  const double awq = mean_square_difference(model->forward(ids), before);
  const double rtn = mean_square_difference(plain->forward(ids), before);
  EXPECT_LT(awq, rtn);
  const std::vector<float>& s = result.searches[0].scales;
  EXPECT_EQ(std::max_element(s.begin(), s.end()) - s.begin(), outlier);
}

}  // namespace
}  // namespace chalk
