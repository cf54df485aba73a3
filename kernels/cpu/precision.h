#pragma once
// rounded() of kernels/precision.h on vectors: no more than bits are moved, so the results are the same bits.

#include <algorithm>

#include "kernels/cpu/simd.h"
#include "kernels/precision.h"

namespace chalk::cpu {

template <Precision precision>
HWY_INLINE simd::V rounded(simd::V x) {
  constexpr int dropped = dropped_bits(precision);
  if constexpr (dropped == 0) {
    return x;
  } else {
    namespace hn = simd::hn;
    const hn::RebindToUnsigned<simd::D> u32;
    const auto bits = hn::BitCast(u32, x);
    const auto odd = hn::And(hn::ShiftRight<dropped>(bits), hn::Set(u32, 1));
    const auto sum = hn::Add(hn::Add(bits, hn::Set(u32, (1u << (dropped - 1)) - 1)), odd);
    const simd::V y = hn::BitCast(simd::f32, hn::And(sum, hn::Set(u32, ~((1u << dropped) - 1))));
    return hn::IfThenElse(hn::IsNaN(x), x, y);
  }
}

// y_i = rounded(x_i); y may be x. FP32 is a copy that is left out when y is x.
inline void round_span(float* y, const float* x, int64_t count, Precision precision) {
  if (precision == Precision::BF16) {
    simd::map(
        y, count, [](simd::V v) { return rounded<Precision::BF16>(v); }, x);
  } else if (precision == Precision::TF32) {
    simd::map(
        y, count, [](simd::V v) { return rounded<Precision::TF32>(v); }, x);
  } else if (y != x) {
    std::copy_n(x, count, y);
  }
}

}  // namespace chalk::cpu
