// Half precision and bfloat16 by hand: every one of the 65536 patterns, and rounding at every boundary.
#include "models/io/dtype.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/models/io/paths.h"

namespace chalk {
namespace {

// The definition, in double: sign · 2^(e − 15) · (1 + m/1024), subnormals m · 2⁻²⁴.
double half_by_definition(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double sign = half & 0x8000 ? -1 : 1;
  if (exponent == 0) return sign * mantissa * 0x1p-24;
  return sign * std::ldexp(1 + mantissa / 1024.0, exponent - 15);
}

TEST(DType, EveryHalfConvertsExactlyAndBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = half_to_float(half);
    if ((half & 0x7c00) == 0x7c00 && (half & 0x3ff) != 0) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
      continue;
    }
    if ((half & 0x7c00) == 0x7c00)
      EXPECT_EQ(value, half & 0x8000 ? -INFINITY : INFINITY);
    else
      ASSERT_EQ(value, half_by_definition(half)) << bits;
    ASSERT_EQ(float_to_half(value), half) << bits;
  }
}

// Between two neighbouring halves: just below the middle goes down, just above up, the middle itself to the
// even one.
TEST(DType, FloatToHalfRoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const uint16_t low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits + 1);
    const float middle = (half_to_float(low) + half_to_float(high)) / 2;  // exact: one more bit
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), low);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), high);
    ASSERT_EQ(float_to_half(middle), bits % 2 == 0 ? low : high);
    ASSERT_EQ(float_to_half(-middle), 0x8000 | (bits % 2 == 0 ? low : high));
  }
  EXPECT_EQ(float_to_half(65519.99f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);  // the middle between 65504 and what would be 65536
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(DType, Bfloat16RoundsToNearestEven) {
  EXPECT_EQ(float_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // tie, even below
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // tie, even above
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(
      bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7f800001u)))));  // payload in dropped bits
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) ASSERT_EQ(float_to_bf16(bf16_to_float(bits)), bits);
}

TEST(DType, ArraysOfEveryTypeConvert) {
  const std::vector<uint8_t> bytes = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  EXPECT_EQ(to_int64s({"a", DType::I64, {1}, bytes}), std::vector<int64_t>{-1});
  EXPECT_EQ(to_int64s({"a", DType::I32, {2}, bytes}), (std::vector<int64_t>{-1, -1}));
  EXPECT_EQ(to_int64s({"a", DType::U16, {2, 2}, bytes}), (std::vector<int64_t>(4, 65535)));
  EXPECT_EQ(to_floats({"a", DType::I8, {8}, bytes}), (std::vector<float>(8, -1.0f)));
  EXPECT_EQ(to_floats({"a", DType::F32, {0, 3}, {}}), std::vector<float>{});
  EXPECT_THROW(to_floats({"a", DType::F8_E4M3, {8}, bytes}), Error);
  EXPECT_THROW(to_int64s({"a", DType::F32, {2}, bytes}), Error);
  EXPECT_THROW(floats_to_bytes(std::vector<float>{1}, DType::I32), Error);
}

}  // namespace
}  // namespace chalk
