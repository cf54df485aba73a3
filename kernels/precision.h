#pragma once
// How exactly a matrix product multiplies. Its operands are rounded to the named type; products and sums stay float32.
//
//           sign exponent fraction     largest relative rounding error      a product of two is exact in float32
//   FP32     1      8       23         none                                 no
//   TF32     1      8       10         2⁻¹¹                                 yes (22 bits)
//   BF16     1      8        7         2⁻⁸                                  yes (16 bits)
// All three reach as far as float32 (8 exponent bits), so gradients need no loss scaling.

#include <bit>
#include <cstdint>

namespace chalk {

enum class Precision { FP32, TF32, BF16 };

// The fraction bits of float32 that the type does not have.
constexpr int dropped_bits(Precision precision) {
  return precision == Precision::BF16 ? 16 : precision == Precision::TF32 ? 13 : 0;
}

// x rounded to nearest, ties to even. A NaN stays a NaN; above the largest number comes infinity.
constexpr float rounded(float x, Precision precision) {
  const int dropped = dropped_bits(precision);
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if (dropped == 0 || (bits & 0x7fffffff) > 0x7f800000) return x;
  const uint32_t below_half = (1u << (dropped - 1)) - 1, odd = bits >> dropped & 1;
  // A carry out of the fraction correctly raises the exponent.
  return std::bit_cast<float>((bits + below_half + odd) & ~((1u << dropped) - 1));
}

}  // namespace chalk
