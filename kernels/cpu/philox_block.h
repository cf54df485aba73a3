#pragma once
// Philox with SIMD: `lanes` counters side by side, the same words as kernels/philox.h.

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
namespace hn = simd::hn;
using U32 = hn::RebindToUnsigned<simd::D>;
using Words = hn::Vec<U32>;  // lanes words of 32 bits

inline constexpr int64_t philox_block_size = 4 * simd::lanes;  // random words made at a time

// The two halves of the 64-bit products a · b, lane by lane.
inline void wide_product(Words a, Words b, Words& high, Words& low) {
  const U32 u32;
  const auto even = hn::MulEven(a, b);                              // products of lanes 0, 2, ...
  const auto odd = hn::MulEven(hn::ShiftRightLanes<1>(u32, a), b);  // products of lanes 1, 3, ... of a
  high = hn::OddEven(hn::BitCast(u32, odd), hn::ShiftRightLanes<1>(u32, hn::BitCast(u32, even)));
  low = a * b;
}

// words[0 … philox_block_size): words first · 4 … of the stream, exactly philox(seed, first + i)[j] of kernels/philox.h.
inline void philox_block(uint32_t* words, uint64_t seed, uint64_t first) {
  const U32 u32;
  alignas(64) uint32_t low[simd::lanes], high[simd::lanes];
  for (int64_t i = 0; i < simd::lanes; ++i) {
    low[i] = uint32_t(first + uint64_t(i));
    high[i] = uint32_t((first + uint64_t(i)) >> 32);
  }
  Words c0 = hn::Load(u32, low), c1 = hn::Load(u32, high), c2 = hn::Zero(u32), c3 = hn::Zero(u32);
  const Words m0 = hn::Set(u32, 0xD2511F53u), m1 = hn::Set(u32, 0xCD9E8D57u);
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    Words high0, low0, high1, low1;
    wide_product(c0, m0, high0, low0);
    wide_product(c2, m1, high1, low1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(u32, k0));
    c1 = low1;
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(u32, k1));
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, u32, words);
}

// The uniform numbers of [0, 1) that random_uniform() makes of the `lanes` words given.
inline simd::V uniform_of(const uint32_t* words) {
  const hn::RebindToSigned<simd::D> i32;
  const auto bits = hn::BitCast(i32, hn::ShiftRight<8>(hn::Load(U32(), words)));
  // uniform = (word >> 8) · 2⁻²⁴
  return hn::ConvertTo(simd::f32, bits) * simd::set(0x1p-24f);
}

}  // namespace chalk::cpu
