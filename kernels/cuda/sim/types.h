#pragma once
// CUDA's small types: dim3, float4, half and bf16. The two 16-bit floats hold bits; arithmetic happens in float.

#include <bit>
#include <cmath>
#include <cstdint>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned x, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};
struct int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

// ---- half: 1 sign, 5 exponent, 10 fraction bits ----

struct __half {
  uint16_t bits;
};
using half = __half;

// Round to nearest, ties to even; overflow to ∞; below 2⁻²⁴ / 2 to 0.
inline __half __float2half(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 16 & 0x8000, size = u & 0x7fffffff;
  if (size > 0x7f800000) return {uint16_t(sign | 0x7e00)};   // NaN stays NaN
  if (size >= 0x477ff000) return {uint16_t(sign | 0x7c00)};  // 65520 and more round to ∞
  if (size < 0x38800000) {  // below 2⁻¹⁴: subnormal, a multiple of 2⁻²⁴
    // Adding 1/2 puts the last kept bit at 2⁻²⁴: the float unit rounds for us.
    const float shifted = std::bit_cast<float>(size) + 0.5f;
    return {uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)))};
  }
  const uint32_t odd = size >> 13 & 1;
  return {uint16_t(sign | ((size - 0x38000000 + 0xfff + odd) >> 13))};
}
inline float __half2float(__half h) {
  const uint32_t sign = uint32_t(h.bits & 0x8000) << 16, size = h.bits & 0x7fff;
  if (size >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (size & 0x3ff) << 13);
  if (size < 0x0400) {
    const float value = float(size) * 0x1p-24f;
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | ((size << 13) + 0x38000000));
}

// ---- bf16: the upper half of a float ----

struct __nv_bfloat16 {
  uint16_t bits;
};

inline __nv_bfloat16 __float2bfloat16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffff) > 0x7f800000) return {uint16_t(u >> 16 | 0x40)};  // a NaN must not round to ∞
  return {uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16)};                 // ties to even
}
inline float __bfloat162float(__nv_bfloat16 x) {
  return std::bit_cast<float>(uint32_t(x.bits) << 16);
}

// One rounding per operation, as the hardware does for single operations.
inline __half __hadd(__half a, __half b) {
  return __float2half(__half2float(a) + __half2float(b));
}
inline __half __hmul(__half a, __half b) {
  return __float2half(__half2float(a) * __half2float(b));
}
inline __nv_bfloat16 __hadd(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __float2bfloat16(__bfloat162float(a) + __bfloat162float(b));
}
inline __nv_bfloat16 __hmul(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __float2bfloat16(__bfloat162float(a) * __bfloat162float(b));
}
