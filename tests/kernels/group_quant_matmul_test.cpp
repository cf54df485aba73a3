// The packed layout byte by byte; the plain product against the readable weights; its gradient by complex step.
#include "kernels/group_quant_matmul.h"

#include <gtest/gtest.h>

#include "kernels/matmul.h"
#include "tests/complex_step.h"
#include "tests/kernels/packed_example.h"

namespace chalk {
namespace {
using test::PackedExample;

TEST(GroupQuantMatmul, LayoutOfFourBits) {
  uint8_t row[32] = {};
  for (int32_t p = 0; p < 64; ++p) put_code(row, 4, p, p % 16 ^ (p / 16));
  EXPECT_EQ(row[0], 0x10);       // position 16 (code 1) high, position 0 (code 0) low
  EXPECT_EQ(row[5], 0x45);       // position 21 (5 ^ 1 = 4) high, position 5 low
  EXPECT_EQ(row[16 + 3], 0x01);  // positions 51 (3 ^ 3) and 35 (3 ^ 2)
}

TEST(GroupQuantMatmul, LayoutOfOtherWidths) {
  uint8_t two[16] = {}, one[16] = {}, eight[16] = {};
  put_code(two, 2, 0, 1), put_code(two, 2, 16, 2), put_code(two, 2, 32, 3), put_code(two, 2, 49, 3);
  EXPECT_EQ(two[0], 0b00111001);
  EXPECT_EQ(two[1], 0b11000000);
  for (int64_t p : {2, 18, 114}) put_code(one, 1, p, 1);
  EXPECT_EQ(one[2], 0b10000011);
  put_code(eight, 8, 7, 200);
  EXPECT_EQ(eight[7], 200);
}

TEST(GroupQuantMatmul, PositionsOfAGroup) {
  EXPECT_EQ(group_positions(128, 4), 128);
  EXPECT_EQ(group_positions(16, 4), 16);  // two groups share a block
  EXPECT_EQ(group_positions(172, 4), 192);
  EXPECT_EQ(group_positions(32, 2), 32);
  EXPECT_EQ(group_positions(48, 2), 64);  // three quarters of a block would straddle
  EXPECT_EQ(group_positions(96, 2), 128);
  EXPECT_EQ(group_positions(1, 8), 16);
}

// Every size, width and group: value() gives back what was packed, and the product is the float product of those values.
TEST(GroupQuantMatmul, IsTheProductWithTheReadableWeights) {
  const int64_t N = 5, M = 3;
  for (int bits : {1, 2, 4, 8}) {
    for (int64_t K : {1, 16, 33, 150}) {
      for (int64_t group : {-1, 10, 16, 32, 64}) {
        for (int kind = 0; kind < 4; ++kind) {
          PackedExample e(N, K, bits, group, (kind & 1) != 0, (kind & 2) != 0, kind == 3 ? 4.0f : 1.0f);
          const std::vector<double> x = test::normals(M * K, 1), bias = test::normals(N, 2);
          const std::vector<double> values(e.values.begin(), e.values.end());
          std::vector<double> y = test::normals(M * N, 3), expected = y;
          plain::group_quant_matmul<double>(y.data(), x.data(), e.w, bias.data(), M, true, nullptr);
          plain::matmul<double>(expected.data(), x.data(), values.data(), bias.data(),
                                {.M = M, .N = N, .K = K, .transpose_b = true, .accumulate = true}, nullptr);
          // The same K products in another order, in double: K roundings of 2^-53 of terms below 5 · 26 · 4.
          for (int64_t i = 0; i < M * N; ++i) {
            EXPECT_NEAR(y[size_t(i)], expected[size_t(i)], double(K) * 2.3e-16 * 600);
          }
        }
      }
    }
  }
}

TEST(GroupQuantMatmul, GradientByComplexStep) {
  const int64_t N = 7, K = 37, M = 3;
  for (int bits : {2, 4, 8}) {
    PackedExample e(N, K, bits, 16, true, true);
    const auto forward = [&](const auto& in) {
      using T = test::NumberOf<decltype(in)>;
      std::vector<T> y(static_cast<size_t>(M * N));
      plain::group_quant_matmul<T>(y.data(), in[0].data(), e.w, nullptr, M, false, nullptr);
      return y;
    };
    const auto backward = [&](const test::Gradients& d, const double* dy, const test::Inputs&) {
      plain::group_quant_matmul_dx<double>(d[0], dy, e.w, M, nullptr);
    };
    test::expect_complex_step({test::normals(M * K, 1)}, forward, backward);
  }
}

}  // namespace
}  // namespace chalk
