// The code books, nearest codes, double quantization and bit counts of 4-bit block quantization; the layer made of them.
#include "nn/nf4.h"

#include <gtest/gtest.h>

#include "autograd/gradcheck.h"
#include "kernels/memory.h"
#include "nn/nf4_linear.h"
#include "tests/autograd/random_tensor.h"
#include "tests/expect.h"

namespace chalk {
namespace {

const FourBit kTypes[] = {FourBit::NF4, FourBit::FP4, FourBit::Int4};

std::vector<float> normals(int64_t count, uint64_t seed = 1) {
  std::vector<float> x;
  for (int64_t i = 0; i < count; ++i) x.push_back(random_normal(seed, uint64_t(i)));
  return x;
}

// Q_N(p): the number that a standard normal variable is below with probability p, by bisection of Φ.
double normal_quantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2, phi = 0.5 * std::erfc(-middle / std::sqrt(2.0));
    (phi < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

// ---- 1. the code book ----

TEST(NF4, StoredTableIsThePublishedOne) {
  const double published[] = {-1.0,
                              -0.6961928009986877,
                              -0.5250730514526367,
                              -0.39491748809814453,
                              -0.28444138169288635,
                              -0.18477343022823334,
                              -0.09105003625154495,
                              0.0,
                              0.07958029955625534,
                              0.16093020141124725,
                              0.24611230194568634,
                              0.33791524171829224,
                              0.44070982933044434,
                              0.5626170039176941,
                              0.7229568362236023,
                              1.0};
  const auto& book = code_book(FourBit::NF4);
  int negative = 0, positive = 0;
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(book[i], float(published[i]));
    if (i > 0) {
      EXPECT_LT(book[i - 1], book[i]);
    }
    negative += book[i]<0, positive += book[i]> 0;
  }
  EXPECT_EQ(negative, 7);
  EXPECT_EQ(positive, 8);
  EXPECT_EQ(book[0], -1);
  EXPECT_EQ(book[7], 0);
  EXPECT_EQ(book[15], 1);
  EXPECT_NE(-book[6], book[8]);  // not symmetric: there is one number more above zero than below
}

// Eight probabilities from 0.9677083 down to 0.5 above zero, seven below, and an exact zero; divided by the largest.
// The published table carries the float rounding of its making, 2e-7; hence 3e-7.
TEST(NF4, ConstructionFromTheNormalQuantilesGivesTheTable) {
  for (double top : {0.9677083, 0.5 * ((1 - 1.0 / 32) + (1 - 1.0 / 30))}) {
    std::vector<double> numbers = {0};
    for (int i = 0; i < 8; ++i)
      numbers.push_back(normal_quantile(top + (0.5 - top) * i / 8));  // 9 points, the last is 0
    for (int i = 0; i < 7; ++i) numbers.push_back(-normal_quantile(top + (0.5 - top) * i / 7));  // 8 points
    std::sort(numbers.begin(), numbers.end());
    ASSERT_EQ(numbers.size(), 16u);
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_NEAR(numbers[i] / numbers.back(), double(code_book(FourBit::NF4)[i]), 3e-7) << "code " << i;
    }
  }
}

// The formula printed as (4) in the paper is not what was shipped: it averages neighbouring quantiles of 2^k + 1 = 17 steps.
TEST(NF4, PrintedFormulaIsNotTheTable) {
  double numbers[15];
  for (int i = 1; i <= 15; ++i)
    numbers[i - 1] = (normal_quantile(i / 17.0) + normal_quantile((i + 1) / 17.0)) / 2;
  const double first = numbers[1] / std::abs(numbers[0]);
  EXPECT_GT(std::abs(first - double(code_book(FourBit::NF4)[1])), 0.01);
}

TEST(NF4, OtherCodeBooks) {
  const double magnitudes[] = {0, 0.0052083, 0.6666667, 1, 0.3333333, 0.5, 0.1666667, 0.25};
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(code_book(FourBit::FP4)[i], magnitudes[i], 5e-8);
    EXPECT_EQ(code_book(FourBit::FP4)[i + 8], -code_book(FourBit::FP4)[i]);
  }
  for (int k = -7; k <= 7; ++k) EXPECT_EQ(code_book(FourBit::Int4)[size_t(k + 8)], float(k) / 7.0f);
  EXPECT_EQ(four_bit_by_name("fp4"), FourBit::FP4);
  EXPECT_THROW(four_bit_by_name("fp8"), UsageError);
}

// ---- 2. nearest value ----

TEST(NF4, NearestCodeIsNearest) {
  for (FourBit type : kTypes) {
    const auto& book = code_book(type);
    for (uint64_t i = 0; i < 100000; ++i) {
      const float x = 2 * random_uniform(3, i) - 1;
      double best = 10;
      for (float number : book) best = std::min(best, std::abs(double(x) - double(number)));
      // The midpoints are rounded to float: a point within one rounding of a midpoint may go either way.
      ASSERT_LE(std::abs(double(x) - double(book[nearest_code(x, type)])), best + 0x1p-24)
          << four_bit_name(type) << " " << x;
    }
  }
}

TEST(NF4, MidpointsGoToTheLowerCode) {
  for (FourBit type : {FourBit::NF4, FourBit::Int4}) {
    const auto& book = code_book(type);
    for (uint8_t i = type == FourBit::NF4 ? 0 : 1; i < 15; ++i) {
      const float middle = (book[i] + book[i + 1u]) / 2;
      EXPECT_EQ(nearest_code(middle, type), i);
      EXPECT_EQ(nearest_code(std::nextafter(middle, 2.0f), type), i + 1);
    }
  }
  // The thresholds of the authors' FP4 tree, on the magnitude; printed to 7 digits.
  const double thresholds[] = {0.00260417, 0.0859375, 0.20833333, 0.29166667, 0.4166667, 0.583333, 0.8333333};
  const int by_magnitude[] = {0, 1, 6, 7, 4, 5, 2, 3};
  for (int t = 0; t < 7; ++t) {
    for (int sign : {0, 1}) {
      const double direction = sign ? -1 : 1, step = 1e-6;
      EXPECT_EQ(nearest_code(float(direction * (thresholds[t] - step)), FourBit::FP4),
                by_magnitude[t] + 8 * sign);
      EXPECT_EQ(nearest_code(float(direction * (thresholds[t] + step)), FourBit::FP4),
                by_magnitude[t + 1] + 8 * sign);
    }
  }
}

// ---- 3. to 5. blocks ----

std::vector<uint8_t> codes_of(const NF4Matrix& q) {
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < q.count(); ++i) codes.push_back(uint8_t(nf4_code(q.view().codes, i)));
  return codes;
}

NF4Options options_of(FourBit type, bool doubly, int64_t block = 64) {
  return {.type = type, .block = block, .double_quantize = doubly};
}

TEST(NF4, QuantizingTwiceChangesNothing) {
  for (FourBit type : kTypes) {
    const std::vector<float> w = normals(7 * 33);  // the last block is short, blocks cross rows
    const NF4Matrix once = quantize_nf4(w.data(), 7, 33, options_of(type, false), Device::CPU);
    const std::vector<float> widened = dequantize(once);
    const NF4Matrix twice = quantize_nf4(widened.data(), 7, 33, options_of(type, false), Device::CPU);
    // FP4 has two zeros: a small negative weight gets code 8, and the −0 it becomes gets code 0.
    if (type != FourBit::FP4) {
      EXPECT_EQ(codes_of(once), codes_of(twice)) << four_bit_name(type);
    }
    EXPECT_EQ(widened, dequantize(twice));
  }
}

// A changed sign swaps the ends, but the inside of the book is not symmetric.
TEST(NF4, SignFlipKeepsTheEndsOnly) {
  std::vector<float> w(64, 0.0f), flipped(64);
  w[0] = 2, w[1] = -2;
  for (size_t i = 2; i < 64; ++i) w[i] = 2 * code_book(FourBit::NF4)[i % 16];
  for (size_t i = 0; i < 64; ++i) flipped[i] = -w[i];
  const NF4Matrix a = quantize_nf4(w.data(), 1, 64, options_of(FourBit::NF4, false), Device::CPU);
  const NF4Matrix b = quantize_nf4(flipped.data(), 1, 64, options_of(FourBit::NF4, false), Device::CPU);
  EXPECT_EQ(codes_of(a)[0], 15);
  EXPECT_EQ(codes_of(b)[0], 0);
  EXPECT_EQ(codes_of(a)[1], 0);
  EXPECT_EQ(codes_of(b)[1], 15);
  EXPECT_EQ(dequantize(a), w);        // w was made of the book's numbers
  EXPECT_NE(dequantize(b), flipped);  // −w is not
}

// |error| ≤ a · half the largest gap of the book (0.3038 / 2), and the largest weight of a block is exact.
TEST(NF4, ErrorStaysBelowHalfTheLargestGap) {
  const std::vector<float> w = normals(64 * 50, 7);
  const NF4Matrix q = quantize_nf4(w.data(), 50, 64, options_of(FourBit::NF4, false), Device::CPU);
  const std::vector<float> widened = dequantize(q);
  for (int64_t k = 0; k < 50; ++k) {
    float a = 0;
    for (int64_t i = 0; i < 64; ++i) a = std::max(a, std::abs(w[size_t(64 * k + i)]));
    bool extreme_is_exact = false;
    for (int64_t i = 0; i < 64; ++i) {
      const size_t at = size_t(64 * k + i);
      ASSERT_LE(std::abs(w[at] - widened[at]), a * 0.1519f);
      extreme_is_exact |= std::abs(w[at]) == a && w[at] == widened[at];
    }
    EXPECT_TRUE(extreme_is_exact) << "block " << k;
  }
}

TEST(NF4, ScaledBlocksHaveTheSameCodes) {
  const std::vector<float> w = normals(640, 9);
  for (FourBit type : kTypes) {
    const NF4Matrix q = quantize_nf4(w.data(), 10, 64, options_of(type, false), Device::CPU);
    for (float factor : {0.25f, 3.7f, 1e-20f, 1e20f}) {
      std::vector<float> scaled = w;
      for (float& x : scaled) x *= factor;
      EXPECT_EQ(codes_of(quantize_nf4(scaled.data(), 10, 64, options_of(type, false), Device::CPU)),
                codes_of(q))
          << factor;
    }
  }
}

TEST(NF4, AllZeroBlocksAndBadInput) {
  std::vector<float> w(128, 0.0f);
  w[100] = 5;
  for (FourBit type : kTypes) {
    for (bool doubly : {false, true}) {
      const std::vector<float> widened =
          dequantize(quantize_nf4(w.data(), 2, 64, options_of(type, doubly), Device::CPU));
      for (size_t i = 0; i < 64; ++i) EXPECT_EQ(widened[i], 0.0f) << four_bit_name(type);
      if (!doubly) {
        EXPECT_EQ(widened[100], 5.0f);
      }
    }
  }
  w[3] = NAN;
  EXPECT_MENTIONS(error_text([&] { quantize_nf4(w.data(), 2, 64, {}, Device::CPU); }), "number 3");
  EXPECT_THROW(quantize_nf4(w.data(), 0, 64, {}, Device::CPU), Error);
  EXPECT_THROW(quantize_nf4(w.data(), 2, 64, {.block = 7}, Device::CPU), Error);
}

// Clean packing at every block size: in one snapshot of the authors' kernels blocks of 1024 and more were corrupted.
TEST(NF4, EveryBlockSizePacksCleanly) {
  const std::vector<float> w = normals(8192, 4);
  for (int64_t block : {2, 64, 256, 1024, 4096, 16384}) {
    const std::vector<float> widened =
        dequantize(quantize_nf4(w.data(), 64, 128, options_of(FourBit::NF4, false, block), Device::CPU));
    for (size_t i = 0; i < w.size(); ++i) ASSERT_LE(std::abs(w[i] - widened[i]), 5 * 0.1519f);
  }
}

// Mean squared error on normal weights at equal bits: NF4 below the other two. Only this order is safe (sheet, gotcha 9).
TEST(NF4, SmallestErrorOnNormalWeights) {
  const std::vector<float> w = normals(1 << 16, 11);
  auto error = [&](FourBit type, int64_t block, bool doubly) {
    const std::vector<float> widened =
        dequantize(quantize_nf4(w.data(), 256, 256, options_of(type, doubly, block), Device::CPU));
    double sum = 0;
    for (size_t i = 0; i < w.size(); ++i) sum += std::pow(double(w[i]) - double(widened[i]), 2);
    return sum / double(w.size());
  };
  const double nf4 = error(FourBit::NF4, 64, false);
  EXPECT_LT(nf4, error(FourBit::Int4, 64, false));
  EXPECT_LT(nf4, error(FourBit::FP4, 64, false));
  EXPECT_LT(error(FourBit::NF4, 32, false), nf4);
  EXPECT_LT(nf4, error(FourBit::NF4, 128, false));
  EXPECT_NEAR(error(FourBit::NF4, 64, true) / nf4, 1, 0.01);  // double quantization: less than 1 %
}

// ---- 6. bits ----

TEST(NF4, BitsPerWeight) {
  EXPECT_DOUBLE_EQ(bits_per_weight({.double_quantize = false}), 4.5);
  EXPECT_NEAR(bits_per_weight({.double_quantize = true}), 4.127, 5e-4);
  EXPECT_DOUBLE_EQ(bits_per_weight({.double_quantize = true}), 4 + 0.125 + 32.0 / (64 * 256));
  const std::vector<float> w(1 << 20, 1.0f);
  const NF4Matrix doubly = quantize_nf4(w.data(), 1024, 1024, {}, Device::CPU);
  EXPECT_EQ(doubly.stored_bytes(), (1 << 19) + (1 << 14) + 4 * 64 + 4);
  EXPECT_NEAR(8.0 * double(doubly.stored_bytes()) / double(1 << 20), 4.127, 5e-4);
  const NF4Matrix plain = quantize_nf4(w.data(), 1024, 1024, {.double_quantize = false}, Device::CPU);
  EXPECT_EQ(8 * plain.stored_bytes(), int64_t(4.5 * (1 << 20)));
}

// What is counted is what is held: the allocator hands out each of the three arrays in a size class (at most 1/8 larger).
TEST(NF4, AllocatorHoldsWhatIsCounted) {
  const std::vector<float> w(1 << 20, 1.0f);
  const int64_t before = memory_counters().live_bytes;
  const NF4Matrix q = quantize_nf4(w.data(), 1024, 1024, {}, Device::CPU);
  const int64_t held = memory_counters().live_bytes - before;
  EXPECT_GE(held, q.stored_bytes() - 4);  // the mean is a member
  EXPECT_LE(held, q.stored_bytes() * 9 / 8 + 64);
}

// ---- 7. double quantization ----

TEST(NF4, DynamicMap) {
  const auto& map = dynamic_map();
  int negative = 0, positive = 0;
  bool has_zero = false;
  double smallest = 1;
  for (size_t i = 0; i < 256; ++i) {
    if (i > 0) {
      EXPECT_LT(map[i - 1], map[i]);
    }
    negative += map[i]<0, positive += map[i]> 0, has_zero |= map[i] == 0;
    if (map[i] > 0) smallest = std::min(smallest, double(map[i]));
    EXPECT_EQ(nearest_dynamic_code(map[i]), i);
  }
  EXPECT_EQ(negative, 127);
  EXPECT_EQ(positive, 128);
  EXPECT_TRUE(has_zero);
  EXPECT_EQ(map[255], 1.0f);
  EXPECT_NEAR(map[0], -0.99296875, 1e-7);
  EXPECT_NEAR(smallest, 5.5e-7, 1e-12);
  EXPECT_EQ(nearest_dynamic_code(2), 255);
  EXPECT_EQ(nearest_dynamic_code(-2), 0);
}

TEST(NF4, ConstantScalesAreExact) {
  const std::vector<float> absmax(1000, 0.3f);
  EXPECT_EQ(dequantize_scales(quantize_scales(absmax, 256)), absmax);
}

// The mean is taken over the whole matrix, the constants over 256 scales; the error is below half the map's widest cell,
// 0.9 / 64 / 2 = 0.00703 (the last step, from 0.993 to 1, is narrower), and below zero 1 − 0.99297 = 0.00703 beyond its end.
TEST(NF4, ScalesComeBackWithinAHalfCell) {
  std::vector<float> absmax;
  for (float x : normals(1000, 5)) absmax.push_back(2 + std::abs(x));
  const QuantizedScales q = quantize_scales(absmax, 256);
  ASSERT_EQ(q.scales.size(), 4u);
  double mean = 0;
  for (float a : absmax) mean += double(a) / 1000;
  EXPECT_NEAR(q.mean, mean, 1e-6);
  const std::vector<float> back = dequantize_scales(q);
  for (size_t k = 0; k < 1000; ++k)
    EXPECT_LE(std::abs(back[k] - absmax[k]), 0.00704f * q.scales[k / 256] + 1e-6f);
}

// ---- the layer ----

class NF4LinearTest : public testing::TestWithParam<Device> {};

TEST_P(NF4LinearTest, EqualsALinearWithTheWidenedWeight) {
  for (bool doubly : {false, true}) {
    Linear dense(19, 7, true, GetParam());
    dense.weight.copy_from(random_tensor({7, 19}, 1, GetParam()));
    dense.bias.copy_from(random_tensor({7}, 2, GetParam()));
    NF4Linear packed(dense, {.block = 8, .double_quantize = doubly, .absmax_block = 4});
    dense.weight.copy_from(Tensor::from({7, 19}, dequantize(packed.weight), GetParam()));
    const Tensor x = random_tensor({2, 3, 19}, 3, GetParam());
    // 19 products of size ≤ 4 in another order: 19 · 4 · 2^-24 · a few.
    EXPECT_TRUE(all_near(packed.forward(x), dense.forward(x), 2e-5));
    EXPECT_EQ(packed.parameters().size(), 1u);  // the bias; the packed weight is no parameter
  }
}

TEST_P(NF4LinearTest, GradientGoesToXAndBias) {
  Linear dense(9, 5, true, GetParam());
  dense.weight.copy_from(random_tensor({5, 9}, 1, GetParam()));
  NF4Linear packed(dense, {.block = 4});
  const NF4Matrix weight = packed.weight;
  const auto f = [&](const std::vector<Tensor>& in) { return nf4_linear(in[0], weight, in[1]); };
  const GradcheckResult result =
      gradcheck(f, {random_tensor({6, 9}, 2, GetParam()), random_tensor({5}, 3, GetParam())});
  EXPECT_LT(result.worst, 1e-3)
      << result.message();  // the bound of autograd/gradcheck.h for values of order 1
}

TEST_P(NF4LinearTest, RefusesWrongShapes) {
  const NF4Linear packed(Linear(8, 4, false, GetParam()), {});
  EXPECT_MENTIONS(error_text([&] { nf4_linear(Tensor({2, 9}, GetParam()), packed.weight); }), "4 x 8");
  EXPECT_MENTIONS(error_text([&] {
                    nf4_linear(Tensor({2, 8}, GetParam()), packed.weight, Tensor({5}, GetParam()));
                  }),
                  "bias");
}

INSTANTIATE_TEST_SUITE_P(Devices, NF4LinearTest, testing::Values(Device::Plain, Device::CPU, Device::CUDA),
                         device_test_name);

}  // namespace
}  // namespace chalk
