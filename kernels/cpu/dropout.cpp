// Dropout with SIMD: Philox runs `lanes` counters side by side. Contract: kernels/dropout.h.

#include "kernels/dropout.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
namespace hn = simd::hn;
using simd::V;
using U32 = hn::RebindToUnsigned<simd::D>;
using W = hn::Vec<U32>;  // lanes words of 32 bits

static constexpr int64_t block = 4 * simd::lanes;  // random numbers made at a time

// The two halves of the 64-bit products a · b, lane by lane.
static void wide_product(W a, W b, W& high, W& low) {
  const U32 u32;
  const auto even = hn::MulEven(a, b);                              // products of lanes 0, 2, ...
  const auto odd = hn::MulEven(hn::ShiftRightLanes<1>(u32, a), b);  // products of lanes 1, 3, ... of a
  high = hn::OddEven(hn::BitCast(u32, odd), hn::ShiftRightLanes<1>(u32, hn::BitCast(u32, even)));
  low = a * b;
}

// words[0 … block): words first · 4 … of the stream, exactly philox(seed, first + i)[j] of kernels/philox.h.
static void philox_block(uint32_t* words, uint64_t seed, uint64_t first) {
  const U32 u32;
  alignas(64) uint32_t low[simd::lanes], high[simd::lanes];
  for (int64_t i = 0; i < simd::lanes; ++i) {
    low[i] = uint32_t(first + uint64_t(i));
    high[i] = uint32_t((first + uint64_t(i)) >> 32);
  }
  W c0 = hn::Load(u32, low), c1 = hn::Load(u32, high), c2 = hn::Zero(u32), c3 = hn::Zero(u32);
  const W m0 = hn::Set(u32, 0xD2511F53u), m1 = hn::Set(u32, 0xCD9E8D57u);
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    W high0, low0, high1, low1;
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

// 1 / (1 − p) where number i is kept, else 0, for the `lanes` numbers whose words are given.
static V keep_factor(const uint32_t* words, float p) {
  const hn::RebindToSigned<simd::D> i32;
  const U32 u32;
  const auto bits = hn::BitCast(i32, hn::ShiftRight<8>(hn::Load(u32, words)));
  // uniform = (word >> 8) · 2⁻²⁴
  const V uniform = hn::ConvertTo(simd::f32, bits) * simd::set(0x1p-24f);
  return hn::IfThenElseZero(hn::Ge(uniform, simd::set(p)), simd::set(1 / (1 - p)));
}

// body(i, part, factor) over all numbers, in chunks of whole Philox blocks.
template <class Body>
static void for_each_kept(int64_t count, float p, uint64_t seed, Body&& body) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t words[block];
    for (int64_t start = begin; start < end; start += block) {
      philox_block(words, seed, uint64_t(start) / 4);
      simd::over_span(std::min(block, end - start),
                      [&](int64_t j, auto part) { body(start + j, part, keep_factor(words + j, p)); });
    }
  });
}

void dropout_forward(float* y, const float* x, int64_t count, float p, uint64_t seed) {
  // y = x / (1 − p) where kept, else 0
  for_each_kept(count, p, seed, [&](int64_t i, auto part, V factor) {
    const auto kept = hn::Gt(factor, simd::zero());
    part.store(y + i, hn::IfThenElseZero(kept, part.load(x + i) * factor));
  });
}

void dropout_backward(float* dx, const float* dy, int64_t count, float p, uint64_t seed) {
  // dx += dy / (1 − p) where kept
  for_each_kept(count, p, seed, [&](int64_t i, auto part, V factor) {
    const auto kept = hn::Gt(factor, simd::zero());
    part.store(dx + i, part.load(dx + i) + hn::IfThenElseZero(kept, part.load(dy + i) * factor));
  });
}

}  // namespace chalk::cpu
