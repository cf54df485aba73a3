// Blocks of columns copied or added, row by row. Contract: kernels/columns.h.

#include "kernels/columns.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::V;

void columns_copy(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width,
                  int64_t x_start, int64_t N, int64_t C) {
  parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      std::copy_n(x + n * x_width + x_start, C, y + n * y_width + y_start);
  });
}

void columns_add(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width, int64_t x_start,
                 int64_t N, int64_t C) {
  parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      simd::add_map(
          y + n * y_width + y_start, C, [](V v) { return v; }, x + n * x_width + x_start);
    }
  });
}

}  // namespace chalk::cpu
