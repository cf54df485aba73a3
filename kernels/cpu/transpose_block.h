#pragma once
// Transposes a small block of a matrix: what packing for matmul and attention, and the transpose op, are made
// of.

#include "kernels/cpu/simd.h"

namespace chalk::cpu {

// Turns the 4 x 4 numbers at x and stores them at y.
HWY_INLINE void transpose_4x4(float* y, int64_t y_width, const float* x, int64_t x_width) {
  namespace hn = simd::hn;
  const hn::CappedTag<float, 4> f4;
  const hn::Repartition<double, decltype(f4)> pairs;
  const auto as_pairs = [&](auto v) HWY_ATTR { return hn::BitCast(pairs, v); };
  const auto save = [&](int64_t c, auto v) HWY_ATTR { hn::StoreU(hn::BitCast(f4, v), f4, y + c * y_width); };
  const auto a = hn::LoadU(f4, x), b = hn::LoadU(f4, x + x_width);
  const auto c = hn::LoadU(f4, x + 2 * x_width), d = hn::LoadU(f4, x + 3 * x_width);
  // a0 b0 a1 b1 | c0 d0 c1 d1 | a2 b2 a3 b3 | c2 d2 c3 d3, then pairs of those
  const auto ab_low = as_pairs(hn::InterleaveLower(f4, a, b)),
             cd_low = as_pairs(hn::InterleaveLower(f4, c, d));
  const auto ab_high = as_pairs(hn::InterleaveUpper(f4, a, b)),
             cd_high = as_pairs(hn::InterleaveUpper(f4, c, d));
  save(0, hn::InterleaveLower(pairs, ab_low, cd_low));
  save(1, hn::InterleaveUpper(pairs, ab_low, cd_low));
  save(2, hn::InterleaveLower(pairs, ab_high, cd_high));
  save(3, hn::InterleaveUpper(pairs, ab_high, cd_high));
}

// y[c · y_width + r] = x[r · x_width + c] for r < R, c < C.
// Column by column of x, so that y is written from front to back: y is the side that is read next.
inline void transpose_block(float* y, int64_t y_width, const float* x, int64_t x_width, int64_t R,
                            int64_t C) {
  const int64_t whole_R = R / 4 * 4, whole_C = C / 4 * 4;
  for (int64_t c = 0; c < whole_C; c += 4) {
    for (int64_t r = 0; r < whole_R; r += 4) {
      transpose_4x4(y + c * y_width + r, y_width, x + r * x_width + c, x_width);
    }
  }
  for (int64_t c = 0; c < C; ++c) {
    for (int64_t r = c < whole_C ? whole_R : 0; r < R; ++r) y[c * y_width + r] = x[r * x_width + c];
  }
}

}  // namespace chalk::cpu
