#pragma once
// Number types found in checkpoint files, and the conversions between their bytes and float or int64.
// All files are little-endian and so is every machine Chalk runs on; bytes may lie at any alignment.
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/half.h"  // half_to_float, float_to_half

namespace chalk {

static_assert(std::endian::native == std::endian::little, "checkpoint files are little-endian");

// The names are those of safetensors, in the order in which its library sorts them. The types of fewer than 8
// bits, the F8 family and C64 are known by size only.
// clang-format off
enum class DType {
  BOOL, F4, F6_E2M3, F6_E3M2, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, I16, U16, F16, BF16,
  I32, U32, F32, C64, F64, I64, U64
};
// clang-format on

const char* dtype_name(DType dtype);
int dtype_bits(DType dtype);
bool parse_dtype(const std::string& name, DType& dtype);  // false: not a known name
bool is_float_dtype(DType dtype);  // F16, BF16, F32 or F64: what to_floats accepts as weights

// A named array whose bytes belong to someone else: a mapped file or a vector of the caller.
struct ArrayView {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;      // row-major, slowest first; {} is a scalar
  std::span<const uint8_t> bytes;  // exactly product(shape) elements

  int64_t count() const;
};

// All elements as float (F16, BF16, F32, F64, BOOL and the integers up to 32 bits; F64 and I32 are rounded),
// or as int64 (BOOL, integers). Throw Error naming the array for any other type.
std::vector<float> to_floats(const ArrayView& array);
std::vector<int64_t> to_int64s(const ArrayView& array);

// The bytes of `values` stored as F32, F16 or BF16, rounded to nearest even. Throws Error for any other type.
std::vector<uint8_t> floats_to_bytes(std::span<const float> values, DType dtype);

// bfloat16 is the upper half of a float: 1 sign, 8 exponent, 7 mantissa bits.
inline float bf16_to_float(uint16_t bf16) {
  return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16);
}
inline uint16_t float_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);  // NaN stays NaN
  // Adding just under half a step, or exactly half when the kept part is odd, rounds ties to even.
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace chalk
