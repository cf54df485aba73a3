#pragma once
// IEEE half precision, the type of scales in memory and in files: 1 sign, 5 exponent (bias 15), 10 mantissa bits.

#include <bit>
#include <cstdint>

namespace chalk {

// Exact. (constexpr also lets a GPU kernel call it.)
constexpr float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 0x1f;
  const uint32_t mantissa = half & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);  // infinity or NaN
  if (exponent == 0) {  // zero or subnormal: mantissa · 2⁻²⁴, exact in float
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
}

// Rounds to nearest, ties to even; above 65504 + half a step gives infinity, below half the smallest subnormal zero.
inline uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));  // NaN
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and more: infinity
  if (magnitude < 0x38800000) {  // below 2⁻¹⁴: a subnormal, a whole number of steps of 2⁻²⁴
    // Adding 2⁻¹ puts the step of the float sum at exactly 2⁻²⁴, so the adder itself rounds to nearest even.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) - std::bit_cast<uint32_t>(0.5f)));
  }
  // Drop 13 bits with ties to even; a carry out of the mantissa correctly raises the exponent.
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - (static_cast<uint32_t>(127 - 15) << 23)) >> 13);
}

}  // namespace chalk
