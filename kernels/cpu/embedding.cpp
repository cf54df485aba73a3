// Embedding: copies of rows, and rows added up. Contract: kernels/embedding.h.

#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::V;

void embedding_forward(float* y, const float* weight, const int32_t* ids, int64_t N, int64_t C) {
  parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
    // y_n = weight[ids_n]
    for (int64_t n = begin; n < end; ++n) std::copy_n(weight + ids[n] * C, C, y + n * C);
  });
}

void embedding_backward(float* dweight, const float* dy, const int32_t* ids, int64_t N, int64_t /*V*/,
                        int64_t C) {
  // Two rows may meet in the same dweight row, so a thread owns a strip of columns and visits all rows in
  // order.
  const int64_t strip = std::max<int64_t>(simd::lanes, memory_grain / std::max<int64_t>(1, N));
  parallel_for(C, strip, [&](int64_t begin, int64_t end) {
    for (int64_t n = 0; n < N; ++n) {
      // dweight[ids_n] += dy_n
      simd::add_map(
          dweight + ids[n] * C + begin, end - begin, [](V g) { return g; }, dy + n * C + begin);
    }
  });
}

}  // namespace chalk::cpu
