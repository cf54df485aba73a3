// The grids at hand-made values, then what every grid must satisfy on random ones.
#include "nn/quantizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "autograd/check.h"
#include "tests/expect.h"

namespace chalk {
namespace {

constexpr Grid grids[] = {Grid::AbsMax, Grid::GptqSymmetric, Grid::GptqAsymmetric, Grid::AwqAsymmetric};

std::vector<float> normal_values(int64_t n, uint64_t seed, float sigma = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

QuantizerOptions options_of(Grid grid, int bits, int64_t group_size = -1, bool mse_search = false) {
  return {.bits = bits, .grid = grid, .group_size = group_size, .mse_search = mse_search};
}

Scale scale_for(const std::vector<float>& x, Grid grid, int bits) {
  return find_scale(x.data(), int64_t(x.size()), options_of(grid, bits));
}

std::vector<float> rounded(const std::vector<float>& x, const QuantizerOptions& options) {
  return dequantize(round_to_nearest(x.data(), 1, int64_t(x.size()), options));
}

// Every grid at 2, 3, 4 and 8 bits.
class QuantizerGridTest : public testing::TestWithParam<std::tuple<Grid, int>> {
 protected:
  Grid grid = std::get<0>(GetParam());
  int bits = std::get<1>(GetParam());
};

// ---- table A.1 at values that can be checked by hand ----

TEST(QuantizerTest, HalfToEven) {
  const Scale unit{.scale = 1, .zero = 0, .maximum = 15};
  EXPECT_EQ(encode(0.5f, unit), 0);
  EXPECT_EQ(encode(1.5f, unit), 2);
  EXPECT_EQ(encode(2.5f, unit), 2);
  EXPECT_EQ(encode(-0.5f, Scale{.scale = 1, .zero = 8, .maximum = 15}), 8);
  EXPECT_EQ(encode(-1.5f, Scale{.scale = 1, .zero = 8, .maximum = 15}), 6);
}

TEST(QuantizerTest, AbsMaxByHand) {
  const Scale s = scale_for({-3.5f, 1, 2}, Grid::AbsMax, 4);
  EXPECT_FLOAT_EQ(s.scale, 0.5f);  // 3.5 / 7
  EXPECT_EQ(s.zero, 8);
  EXPECT_EQ(encode(-3.5f, s), 1);
  EXPECT_EQ(encode(3.5f, s), 15);
  EXPECT_EQ(encode(-100, s), 1);  // the range is restricted: −8 is not used
  EXPECT_FLOAT_EQ(scale_for({0, 0}, Grid::AbsMax, 8).scale, 1e-5f / 127);
}

TEST(QuantizerTest, GptqSymmetricByHand) {
  const Scale s = scale_for({-1.5f, 0.3f}, Grid::GptqSymmetric, 4);
  EXPECT_FLOAT_EQ(s.scale, 0.2f);  // 2 · 1.5 / 15
  EXPECT_EQ(s.zero, 8);
  // The grid is 0.2 · {−8 … 7}: the largest positive value is clipped to 7/7.5 of it.
  const Scale positive_end = scale_for({-0.3f, 1.5f}, Grid::GptqSymmetric, 4);
  EXPECT_FLOAT_EQ(round_to_grid(1.5f, positive_end), 1.4f);
  // No negative value: low stays 0, so the scale is half as large, and yet the zero is in the middle.
  const Scale one_sided = scale_for({0.1f, 1.5f}, Grid::GptqSymmetric, 4);
  EXPECT_FLOAT_EQ(one_sided.scale, 0.1f);
  EXPECT_EQ(one_sided.zero, 8);
  EXPECT_FLOAT_EQ(round_to_grid(1.5f, one_sided), 0.7f);
}

TEST(QuantizerTest, GptqAsymmetricByHand) {
  const Scale s = scale_for({-0.5f, 1.0f}, Grid::GptqAsymmetric, 4);
  EXPECT_FLOAT_EQ(s.scale, 0.1f);
  EXPECT_EQ(s.zero, 5);
  const Scale positive = scale_for({3.0f, 1.0f}, Grid::GptqAsymmetric, 2);  // 0 belongs to the range
  EXPECT_FLOAT_EQ(positive.scale, 1.0f);
  EXPECT_EQ(positive.zero, 0);
  const Scale nothing = scale_for({0, 0}, Grid::GptqAsymmetric, 4);  // −1 … 1
  EXPECT_FLOAT_EQ(nothing.scale, 2.0f / 15);
  EXPECT_EQ(nothing.zero, 7);  // 1 / scale is a hair below 7.5, because 2/15 is rounded up
}

TEST(QuantizerTest, AwqAsymmetricByHand) {
  const Scale s = scale_for({-0.5f, 1.0f}, Grid::AwqAsymmetric, 4);
  EXPECT_FLOAT_EQ(s.scale, 0.1f);
  EXPECT_EQ(s.zero, 5);
  // The range need not contain 0, but the zero is clamped: a set far from 0 is badly represented (awq.md, gotcha 3).
  const Scale far = scale_for({10.0f, 11.5f}, Grid::AwqAsymmetric, 4);
  EXPECT_FLOAT_EQ(far.scale, 0.1f);
  EXPECT_EQ(far.zero, 0);
  EXPECT_FLOAT_EQ(round_to_grid(10.0f, far), 1.5f);
  EXPECT_FLOAT_EQ(scale_for({0, 0}, Grid::AwqAsymmetric, 4).scale, 1e-5f / 15);
}

// ---- properties ----

TEST_P(QuantizerGridTest, CodesStayWithinBounds) {
  const std::vector<float> x = normal_values(1000, 1);
  const Scale s = scale_for(x, grid, bits);
  for (float v : {-1e30f, -1.0f, 0.0f, 1.0f, 1e30f, INFINITY, -INFINITY, NAN}) {
    EXPECT_GE(encode(v, s), s.minimum);
    EXPECT_LE(encode(v, s), (1 << bits) - 1);
  }
  std::set<uint8_t> seen;
  for (uint8_t code : round_to_nearest(x.data(), 10, 100, options_of(grid, bits)).codes) seen.insert(code);
  EXPECT_LE(*seen.rbegin(), (1 << bits) - 1);
  EXPECT_LE(seen.size(), size_t(1) << bits);
  EXPECT_GE(*seen.begin(), grid == Grid::AbsMax ? 1 : 0);
}

TEST_P(QuantizerGridTest, GridPointsAreFixed) {
  const Scale s = scale_for(normal_values(64, 2), grid, bits);
  for (int32_t code = s.minimum; code <= s.maximum; ++code) EXPECT_EQ(encode(decode(code, s), s), code);
}

TEST_P(QuantizerGridTest, RoundingTwiceIsRoundingOnce) {
  const std::vector<float> x = normal_values(500, 3);
  const Scale s = scale_for(x, grid, bits);
  for (float v : x) EXPECT_EQ(round_to_grid(round_to_grid(v, s), s), round_to_grid(v, s));
}

// A symmetric restricted grid has its largest value as a grid point, so also a newly found scale changes nothing.
TEST(QuantizerTest, AbsMaxIsIdempotentWithRecomputedScale) {
  for (int bits : {2, 3, 4, 8}) {
    const std::vector<float> once = rounded(normal_values(100, 4), options_of(Grid::AbsMax, bits));
    const std::vector<float> twice = rounded(once, options_of(Grid::AbsMax, bits));
    EXPECT_TRUE(
        all_near(twice, once, 4 * 1.2e-7 * 4));  // a scale is recovered to a few roundings of 2^-23; |x| < 4
  }
}

TEST_P(QuantizerGridTest, OrderInsideAGroupIsIrrelevant) {
  std::vector<float> x = normal_values(96, 5);
  const Scale before = scale_for(x, grid, bits);
  std::shuffle(x.begin(), x.end(), std::mt19937_64(6));
  const Scale after = scale_for(x, grid, bits);
  EXPECT_EQ(before.scale, after.scale);
  EXPECT_EQ(before.zero, after.zero);
}

// x -> c·x scales linearly. For a power of two all roundings are the same: the same bits.
TEST_P(QuantizerGridTest, ScalesWithItsInput) {
  const std::vector<float> x = normal_values(200, 7);
  for (bool mse : {false, true}) {
    const std::vector<float> y = rounded(x, options_of(grid, bits, 64, mse));
    for (float c : {0.25f, 8.0f}) {
      std::vector<float> scaled = x, expected = y;
      for (float& v : scaled) v *= c;
      for (float& v : expected) v *= c;
      EXPECT_EQ(rounded(scaled, options_of(grid, bits, 64, mse)), expected);
    }
  }
}

TEST_P(QuantizerGridTest, ZeroStaysZero) {
  const std::vector<float> x = normal_values(50, 8);  // both signs: 0 is in the range
  EXPECT_EQ(round_to_grid(0, scale_for(x, grid, bits)), 0);
  EXPECT_EQ(rounded({0, 0, 0}, options_of(grid, bits)), std::vector<float>(3, 0.0f));
}

TEST_P(QuantizerGridTest, NeverDecreases) {
  const Scale s = scale_for(normal_values(50, 9), grid, bits);
  float last = round_to_grid(-5, s);
  for (int i = -5000; i <= 5000; ++i) {
    const float y = round_to_grid(float(i) / 1000, s);
    EXPECT_GE(y, last);
    last = y;
  }
}

// |value − x| ≤ scale/2 between the ends of the grid; at the ends the rounded zero can cost another half step.
TEST_P(QuantizerGridTest, ErrorIsAtMostHalfAStep) {
  const std::vector<float> x = normal_values(2000, 10);
  const Scale s = scale_for(x, grid, bits);
  const float slack = 4e-6f;  // |x| < 5, a few roundings of 2^-24 relative
  for (float v : x) {
    const float error = std::abs(round_to_grid(v, s) - v);
    EXPECT_LE(error, s.scale + slack);
    const bool inside = v >= decode(s.minimum, s) - s.scale / 2 && v <= decode(s.maximum, s) + s.scale / 2;
    if (inside) {
      EXPECT_LE(error, s.scale / 2 + slack);
    }
  }
}

TEST_P(QuantizerGridTest, SearchIsNeverWorseInItsOwnNorm) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const std::vector<float> x = normal_values(128, 100 + seed);
    double plain = 0, searched = 0;
    const std::vector<float> y = rounded(x, options_of(grid, bits));
    const std::vector<float> z = rounded(x, options_of(grid, bits, -1, true));
    for (size_t i = 0; i < x.size(); ++i) {
      plain += std::pow(std::abs(double(y[i]) - x[i]), 2.4);
      searched += std::pow(std::abs(double(z[i]) - x[i]), 2.4);
    }
    EXPECT_LE(searched, plain);
    if (bits == 2) {  // 128 normal values: the tails are worth clipping at 2 bits
      EXPECT_LT(searched, plain);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, QuantizerGridTest,
                         testing::Combine(testing::ValuesIn(grids), testing::Values(2, 3, 4, 8)),
                         [](const testing::TestParamInfo<std::tuple<Grid, int>>& info) {
                           std::string name = grid_name(std::get<0>(info.param));
                           std::erase(name, '-');
                           return name + std::to_string(std::get<1>(info.param));
                         });

// The mean squared error falls with every bit; from 4 to 8 bits by about (127/7)² = 329 (restricted symmetric grid).
TEST(QuantizerTest, ErrorFallsWithBits) {
  const std::vector<float> x = normal_values(20000, 11);
  double last = 1e9, at4 = 0, at8 = 0;
  for (int bits = 2; bits <= 8; ++bits) {
    const std::vector<float> y = rounded(x, options_of(Grid::AbsMax, bits, 128));
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += (double(y[i]) - x[i]) * (double(y[i]) - x[i]);
    EXPECT_LT(sum, last);
    last = sum;
    if (bits == 4) at4 = sum;
    if (bits == 8) at8 = sum;
  }
  EXPECT_GT(at4 / at8, 280);
  EXPECT_LT(at4 / at8, 380);
}

// Uniform rounding error has variance scale²/12 (uniform data, where it is exact in the mean; 40 000 draws of a variable
// with relative standard deviation 0.9 of e²: 2 % is more than 4 standard deviations of the mean).
TEST(QuantizerTest, RoundingErrorVariance) {
  std::mt19937_64 random(12);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> x(40000);
  for (float& v : x) v = uniform(random);
  const Scale s = scale_for(x, Grid::GptqAsymmetric, 4);
  double sum = 0;
  for (float v : x) sum += std::pow(double(round_to_grid(v, s)) - v, 2);
  EXPECT_NEAR(sum / 40000 / (double(s.scale) * s.scale / 12), 1, 0.02);
}

// ---- matrices ----

TEST(QuantizerTest, GranularityMeansWhatItSays) {
  const int64_t rows = 3, columns = 10;
  const std::vector<float> w = normal_values(rows * columns, 13);
  for (int64_t group_size : {0, -1, 4, 10, 100}) {
    const QuantizerOptions options = options_of(Grid::GptqAsymmetric, 4, group_size);
    const QuantizedMatrix q = round_to_nearest(w.data(), rows, columns, options);
    validate(q);
    EXPECT_EQ(q.groups(), group_size == 4 ? 3 : 1);  // 4 + 4 + 2 inputs
    for (int64_t i = 0; i < rows * columns; ++i) {
      const int64_t row = i / columns, g = q.group(i % columns), first = g * q.group_size;
      const Scale s = group_size == 0 ? find_scale(w.data(), rows * columns, options)
                                      : find_scale(w.data() + row * columns + first,
                                                   std::min(q.group_size, columns - first), options);
      EXPECT_EQ(q.codes[size_t(i)], encode(w[size_t(i)], s));
      EXPECT_EQ(q.scales[size_t(row * q.groups() + g)], s.scale);
      EXPECT_EQ(dequantize(q)[size_t(i)], round_to_grid(w[size_t(i)], s));
    }
  }
}

TEST(QuantizerTest, NamedGroups) {
  const std::vector<float> w = normal_values(8, 14);
  QuantizedMatrix q = round_to_nearest(w.data(), 1, 8, options_of(Grid::AbsMax, 4, 4));
  const std::vector<float> natural = dequantize(q);
  q.group_of = {0, 0, 0, 0, 1, 1, 1, 1};
  EXPECT_EQ(dequantize(q), natural);
  q.group_of = {1, 0, 0, 0, 1, 1, 1, 1};
  validate(q);
  EXPECT_FLOAT_EQ(dequantize(q)[0], natural[0] / q.scales[0] * q.scales[1]);
}

// b + (16 + zero bits) / g, the sheet's examples.
TEST(QuantizerTest, EffectiveBits) {
  const std::vector<float> w = normal_values(4 * 256, 15);
  const auto bits_of = [&](Grid grid, int bits, int64_t g, int scale_bits) {
    return storage_cost(round_to_nearest(w.data(), 4, 256, options_of(grid, bits, g)), scale_bits)
        .effective_bits();
  };
  EXPECT_DOUBLE_EQ(bits_of(Grid::GptqAsymmetric, 4, 128, 16), 4.15625);
  EXPECT_DOUBLE_EQ(bits_of(Grid::GptqAsymmetric, 3, 128, 16), 3.1484375);
  EXPECT_DOUBLE_EQ(bits_of(Grid::GptqAsymmetric, 2, 32, 16), 2.5625);
  EXPECT_DOUBLE_EQ(bits_of(Grid::AbsMax, 4, 64, 32), 4.5);  // a symmetric grid stores no zeros
  EXPECT_DOUBLE_EQ(bits_of(Grid::AbsMax, 8, 0, 16), 8 + 16.0 / 1024);

  StorageCost model = storage_cost(round_to_nearest(w.data(), 4, 256, options_of(Grid::AbsMax, 4, 64)), 32);
  model += float_cost(1024);
  EXPECT_EQ(model.weights, 2048);
  EXPECT_DOUBLE_EQ(model.effective_bits(), (4.5 + 32) / 2);
}

TEST(QuantizerTest, RefusesWhatItCannotDo) {
  const float values[] = {1, NAN, 2, INFINITY};
  const QuantizerOptions options;
  EXPECT_MENTIONS(error_text([&] { find_scale(values, 4, options); }), "value 1");
  EXPECT_MENTIONS(error_text([&] { round_to_nearest(values, 2, 2, options); }), "weight (0, 1)");
  EXPECT_THROW(find_scale(values, 1, options_of(Grid::AbsMax, 1)), UsageError);
  EXPECT_THROW(find_scale(values, 1, options_of(Grid::GptqAsymmetric, 9)), UsageError);
  EXPECT_THROW(find_scale(values, 1, options_of(Grid::GptqAsymmetric, 0)), UsageError);
  EXPECT_THROW(find_scale(values, 1, options_of(Grid::GptqAsymmetric, 4, -2)), UsageError);
  const float huge[] = {-3e38f, 3e38f};
  EXPECT_MENTIONS(error_text([&] { find_scale(huge, 2, options_of(Grid::GptqAsymmetric, 1)); }), "value 0");
  const float tiny[] = {-1e-45f, 1e-45f};
  EXPECT_TRUE(std::isfinite(round_to_grid(1e-45f, find_scale(tiny, 2, options))));

  QuantizedMatrix q = round_to_nearest(values, 1, 1, options);
  q.codes[0] = 16;
  EXPECT_MENTIONS(error_text([&] { validate(q); }), "above 15");
  q.codes.clear();
  EXPECT_MENTIONS(error_text([&] { validate(q); }), "0 codes");
}

}  // namespace
}  // namespace chalk
