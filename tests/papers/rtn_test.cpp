// Round-to-nearest: exact properties, the error model, and the order of bits and granularities on a trained model.
#include "papers/quantization/rtn.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "models/evaluate_text.h"
#include "models/io/file.h"
#include "models/load.h"
#include "models/model_scorer.h"
#include "models/storage.h"
#include "nn/init.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

Tensor normal_weight(int64_t rows, int64_t columns, uint64_t seed) {
  Tensor w({rows, columns}, Device::CPU);
  init_normal(w, 1.0f, seed, "w");
  return w;
}

TEST(RtnTest, EveryWeightGoesToItsNearestGridPoint) {
  const Tensor w = normal_weight(4, 24, 1);
  for (int bits : {2, 3, 4}) {
    const RtnLayer layer = round_layer("w", w, {.bits = bits, .group_size = 8});
    const std::vector<float> rounded = dequantize(layer.matrix);
    for (int64_t i = 0; i < w.numel(); ++i) {
      const size_t g = size_t(i / 24 * 3 + i % 24 / 8);
      const float s = layer.matrix.scales[g];
      for (int32_t code = 0; code < 1 << bits; ++code) {  // no other point of the grid is nearer
        const float point = s * float(code - layer.matrix.zeros[g]);
        EXPECT_LE(std::abs(rounded[size_t(i)] - w.data()[i]), std::abs(point - w.data()[i]) + 1e-6f);
      }
    }
  }
}

TEST(RtnTest, BitsPerWeight) {
  const Tensor w = normal_weight(8, 256, 2);
  for (int bits : {2, 3, 4, 8}) {
    for (int64_t g : {32, 128, 256}) {
      for (Grid grid : {Grid::GptqAsymmetric, Grid::GptqSymmetric}) {
        const RtnLayer layer = round_layer("w", w, {.bits = bits, .grid = grid, .group_size = g});
        EXPECT_DOUBLE_EQ(storage_cost(layer.matrix).effective_bits(),
                         bits_per_weight(bits, g, grid == Grid::GptqSymmetric));
      }
    }
  }
  EXPECT_NEAR(bits_per_weight(4, 128, false), 4.156, 5e-4);  // the figures that papers quote
  EXPECT_NEAR(bits_per_weight(3, 128, false), 3.148, 5e-4);
}

// 128 · 256 squared errors, each of relative deviation √(4/5): 2 % is 4 standard deviations of their mean. Uniform noise
// needs steps that are small against the spread: 4 bits and more.
TEST(RtnTest, ErrorIsATwelfthOfTheSquaredStep) {
  const Tensor w = normal_weight(128, 256, 3);
  for (int bits : {4, 6, 8}) {
    const RtnLayer layer = round_layer("w", w, {.bits = bits, .group_size = 64});
    EXPECT_NEAR(layer.noise / expected_noise(layer.matrix), 1, 0.02) << bits;
  }
}

// Inputs of very different sizes. 64 rows · 128 inputs · 48 tokens; the sum over tokens of one input's power makes rows
// the independent unit: 64 outputs of relative deviation about √2 each over few dominant inputs; 15 % covers it.
TEST(RtnTest, PredictsTheOutputError) {
  const Tensor w = normal_weight(256, 128, 4), x = normal_weight(48, 128, 5);
  for (int64_t i = 0; i < x.numel(); ++i) x.data()[i] *= 0.1f + float(i % 128) / 32;
  for (int bits : {4, 8}) {
    const RtnLayer layer = round_layer("w", w, {.bits = bits, .group_size = 32});
    const double expected = expected_output_error(layer.matrix, x.data(), 48);
    EXPECT_NEAR(output_error(w, layer.matrix, x.data(), 48) / expected, 1, 0.15) << bits;
  }
}

// 2^b − 1 steps instead of 2^b: between b and b + 1 bits the step shrinks by (2^(b+1) − 1) / (2^b − 1).
TEST(RtnTest, SixDecibelsPerBit) {
  const Tensor w = normal_weight(64, 256, 6);
  for (int bits = 4; bits < 8; ++bits) {
    const double here = round_layer("w", w, {.bits = bits, .group_size = 64}).signal_to_noise();
    const double next = round_layer("w", w, {.bits = bits + 1, .group_size = 64}).signal_to_noise();
    const double exact = 20 * std::log10(double((2 << bits) - 1) / ((1 << bits) - 1));
    EXPECT_NEAR(next - here, exact, 0.25);  // 2 % of the noise is 0.09 dB, twice
    EXPECT_NEAR(exact, 6.02, 0.35);
  }
}

// A smaller set has a smaller range. Outliers in a few rows and columns make the steps of the ladder wide.
TEST(RtnTest, SmallerSetsHaveSmallerErrors) {
  const Tensor w = normal_weight(64, 256, 7);
  for (int64_t k = 0; k < 256; ++k) w.data()[5 * 256 + k] *= 8;
  for (int64_t n = 0; n < 64; ++n) w.data()[n * 256 + 17] *= 4;
  for (int bits : {2, 3, 4, 8}) {
    double last = 1e30;
    for (const Rung& rung : granularity_ladder(bits)) {
      const double noise = round_layer("w", w, rung.quantizer).noise;
      EXPECT_LT(noise, last) << bits << " bits, " << rung.name;
      last = noise;
    }
  }
}

TEST(RtnTest, SearchedRangeHasASmallerErrorAtFewBits) {
  const Tensor w = normal_weight(32, 256, 8);
  for (int bits : {2, 3}) {
    const std::vector<Rung> rungs = grid_ladder(bits, 64);
    EXPECT_LT(round_layer("w", w, rungs[4].quantizer).noise, round_layer("w", w, rungs[2].quantizer).noise);
  }
}

class RtnModelTest : public testing::TestWithParam<ModelCase> {};

TEST_P(RtnModelTest, FloatLayersComeBack) {
  NoGrad no_grad;
  std::unique_ptr<LanguageModel> model = GetParam().make();
  const IntTensor ids = some_ids(2, 6);
  const std::vector<float> before = model->forward(ids).to_vector();
  const double bits_before = storage_of(*model).effective_bits();
  {
    RoundedModel rounded(*model, {.quantizer = {.bits = 3, .group_size = 4}});
    EXPECT_NE(model->forward(ids).to_vector(), before);
    EXPECT_LT(storage_of(*model).effective_bits(), bits_before);
    EXPECT_EQ(rounded.layers.size(), slots_of(*model, Slot::Kind::Projection).size() - 1);  // not the head
  }
  EXPECT_EQ(model->forward(ids).to_vector(), before);
  std::vector<float> rounded_logits;
  {
    RoundedModel rounded(*model, {.quantizer = {.bits = 8, .group_size = 4}, .head = true});
    rounded_logits = model->forward(ids).to_vector();
    rounded.keep();
  }
  EXPECT_EQ(model->forward(ids).to_vector(), rounded_logits);
  EXPECT_TRUE(all_near(rounded_logits, before, 0.5));  // 8 bits: a few steps of 1/255 of the range of logits
}

INSTANTIATE_TEST_SUITE_P(Models, RtnModelTest, testing::ValuesIn(kModelCases), model_test_name);

// The expected shape on a real model: 8 bits ≈ float ≤ 4 ≤ 3 ≤ 2 bits; smaller groups are better at 3 bits.
TEST(RtnTrained, OrderOfBitsAndGroups) {
  const char* data = std::getenv("CHALK_DATA");
  const std::string folder = std::string(data ? data : "data") + "/";
  const std::string model_path = folder + "models/stories260K/stories260K.bin";
  const std::string text_path = folder + "text/tinystories_excerpt.txt";
  if (!file_exists(model_path) || !file_exists(text_path)) GTEST_SKIP() << "no stories260K in CHALK_DATA";
  const LoadedModel loaded = load_model(model_path, folder + "models/stories260K/tok512.bin", Device::CPU);
  std::vector<int32_t> ids = loaded.tokenizer->encode(read_text(text_path).substr(0, 6000));
  const auto loss = [&](const QuantizerOptions* options) {
    NoGrad no_grad;
    std::unique_ptr<RoundedModel> rounded;
    if (options) rounded = std::make_unique<RoundedModel>(*loaded.model, RtnOptions{.quantizer = *options});
    const TextScore score = score_text(logits_of(*loaded.model), loaded.model->vocab_size(), ids,
                                       plan_windows(int64_t(ids.size()), 256, 256));
    return score.nll / double(score.tokens);
  };
  const auto rounded_loss = [&](int bits, int64_t group_size) {
    const QuantizerOptions options{.bits = bits, .group_size = group_size};
    return loss(&options);
  };
  const double full = loss(nullptr), eight = rounded_loss(8, -1), four = rounded_loss(4, -1),
               three = rounded_loss(3, -1), two = rounded_loss(2, -1);
  EXPECT_NEAR(eight, full, 0.01);
  EXPECT_LT(eight, four);
  EXPECT_LT(four, three);
  EXPECT_LT(three, two);
  EXPECT_GT(two - full, 0.5);  // broken
  EXPECT_LT(rounded_loss(3, 32), three);
  EXPECT_LT(three, rounded_loss(3, 0));
}

}  // namespace
}  // namespace chalk
