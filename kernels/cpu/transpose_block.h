#pragma once
// Transposes a small block of a matrix: what packing for matmul and attention, and the transpose op, are made of.

#include "kernels/cpu/simd.h"

namespace chalk::cpu {

// y[c · y_width + r] = x[r · x_width + c] for r < R, c < C.
// Four rows of four numbers at a time, in registers: a store then moves four numbers instead of one.
inline void transpose_block(float* y, int64_t y_width, const float* x, int64_t x_width, int64_t R,
                            int64_t C) {
  namespace hn = simd::hn;
  const hn::CappedTag<float, 4> f4;
  const hn::Repartition<double, decltype(f4)> pairs;
  const auto as_pairs = [&](auto v) { return hn::BitCast(pairs, v); };
  const auto save = [&](int64_t r, int64_t c, auto v) {
    hn::StoreU(hn::BitCast(f4, v), f4, y + c * y_width + r);
  };
  int64_t r = 0;
  for (; r + 4 <= R; r += 4) {
    int64_t c = 0;
    for (; c + 4 <= C; c += 4) {
      const float* block = x + r * x_width + c;
      const auto a = hn::LoadU(f4, block), b = hn::LoadU(f4, block + x_width);
      const auto d = hn::LoadU(f4, block + 2 * x_width), e = hn::LoadU(f4, block + 3 * x_width);
      // a0 b0 a1 b1 | d0 e0 d1 e1 | a2 b2 a3 b3 | d2 e2 d3 e3, then pairs of those
      const auto ab_low = as_pairs(hn::InterleaveLower(f4, a, b)),
                 de_low = as_pairs(hn::InterleaveLower(f4, d, e));
      const auto ab_high = as_pairs(hn::InterleaveUpper(f4, a, b)),
                 de_high = as_pairs(hn::InterleaveUpper(f4, d, e));
      save(r, c, hn::InterleaveLower(pairs, ab_low, de_low));
      save(r, c + 1, hn::InterleaveUpper(pairs, ab_low, de_low));
      save(r, c + 2, hn::InterleaveLower(pairs, ab_high, de_high));
      save(r, c + 3, hn::InterleaveUpper(pairs, ab_high, de_high));
    }
    for (; c < C; ++c) {
      for (int64_t i = r; i < r + 4; ++i) y[c * y_width + i] = x[i * x_width + c];
    }
  }
  for (; r < R; ++r) {
    for (int64_t c = 0; c < C; ++c) y[c * y_width + r] = x[r * x_width + c];
  }
}

}  // namespace chalk::cpu
