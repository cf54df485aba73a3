#pragma once
// Sums over the rows of a matrix (gradients of biases and norm weights), in an order that no thread count can
// change.

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {

// y_c += Σ_n f(n, c),  n < N, c < C. f(n, c, part) gives the vector of the columns that start at c.
// A thread owns whole columns and adds their rows in four interleaved running sums: short sums round less,
// and the additions overlap.
template <class F>
void add_column_sums(float* y, int64_t N, int64_t C, F&& f) {
  const int64_t columns = std::max<int64_t>(simd::lanes, memory_grain / std::max<int64_t>(1, N));
  parallel_for(C, columns, [&](int64_t begin, int64_t end) {
    simd::over_span(end - begin, [&](int64_t i, auto part) {
      const int64_t c = begin + i;
      simd::V s0 = simd::zero(), s1 = simd::zero(), s2 = simd::zero(), s3 = simd::zero();
      int64_t n = 0;
      for (; n + 4 <= N; n += 4) {
        s0 = s0 + f(n, c, part);
        s1 = s1 + f(n + 1, c, part);
        s2 = s2 + f(n + 2, c, part);
        s3 = s3 + f(n + 3, c, part);
      }
      for (; n < N; ++n) s0 = s0 + f(n, c, part);
      part.store(y + c, part.load(y + c) + ((s0 + s1) + (s2 + s3)));
    });
  });
}

}  // namespace chalk::cpu
