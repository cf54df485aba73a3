// Sums with SIMD. Contract: kernels/reduce.h.

#include "kernels/reduce.h"

#include <algorithm>

#include "kernels/cpu/column_sums.h"

namespace chalk::cpu {
using simd::V;

// Σ part(begin, end) over at most 64 chunks: each chunk is summed in float lanes, the chunks in double and in
// order. The chunks depend on `count` alone, so the sum has the same bits with any number of threads.
template <class F>
static float sum_in_chunks(int64_t count, F&& part) {
  constexpr int64_t max_chunks = 64;
  double partial[max_chunks] = {};
  const int64_t grain = std::max(memory_grain, (count + max_chunks - 1) / max_chunks);
  parallel_for(count, grain, [&](int64_t begin, int64_t end) { partial[begin / grain] = part(begin, end); });
  double total = 0;
  for (double p : partial) total += p;
  return float(total);
}

void sum(float* y, const float* x, int64_t count) {
  y[0] = sum_in_chunks(count, [&](int64_t begin, int64_t end) { return simd::sum(x + begin, end - begin); });
}

void sum_backward(float* dx, const float* dy, float scale, int64_t count) {
  // dx_i += scale · dy[0]
  const V g = simd::set(scale * dy[0]);
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    simd::map(
        dx + begin, end - begin, [&](V dx) { return dx + g; }, dx + begin);
  });
}

void sum_squares(float* y, const float* x, int64_t count) {
  y[0] = sum_in_chunks(count,
                       [&](int64_t begin, int64_t end) { return simd::sum_squares(x + begin, end - begin); });
}

void sum_rows(float* y, const float* x, int64_t N, int64_t C) {
  // y_c += Σ_n x_nc
  add_column_sums(y, N, C, [&](int64_t n, int64_t c, auto part) { return part.load(x + n * C + c); });
}

void scale(float* y, const float* x, float factor, int64_t count) {
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    // y = factor · x
    simd::map(
        y + begin, end - begin, [&](V x) { return simd::set(factor) * x; }, x + begin);
  });
}

}  // namespace chalk::cpu
