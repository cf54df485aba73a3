// Swaps the last two axes, 64 x 64 numbers at a time so that both sides stay in the first-level cache.
// Contract: kernels/transpose.h.

#include "kernels/transpose.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/transpose_block.h"

namespace chalk::cpu {

static constexpr int64_t tile = 64;

// f(x offset, y offset, rows, columns) for every tile of B matrices x (M, N), y (N, M).
template <class F>
static void for_each_tile(int64_t B, int64_t M, int64_t N, F&& f) {
  const int64_t tiles_m = (M + tile - 1) / tile, tiles_n = (N + tile - 1) / tile;
  const int64_t grain = std::max<int64_t>(1, memory_grain / (tile * tile));
  parallel_for(B * tiles_m * tiles_n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / (tiles_m * tiles_n), m = i / tiles_n % tiles_m * tile, n = i % tiles_n * tile;
      f(b * M * N + m * N + n, b * M * N + n * M + m, std::min(tile, M - m), std::min(tile, N - n));
    }
  });
}

void transpose_forward(float* y, const float* x, int64_t B, int64_t M, int64_t N) {
  // y_bnm = x_bmn
  for_each_tile(B, M, N, [=](int64_t x_start, int64_t y_start, int64_t rows, int64_t columns) {
    transpose_block(y + y_start, M, x + x_start, N, rows, columns);
  });
}

void transpose_backward(float* dx, const float* dy, int64_t B, int64_t M, int64_t N) {
  // dx_bmn += dy_bnm
  for_each_tile(B, M, N, [=](int64_t x_start, int64_t y_start, int64_t rows, int64_t columns) {
    alignas(64) float turned[tile * tile];
    transpose_block(turned, tile, dy + y_start, M, columns, rows);
    for (int64_t r = 0; r < rows; ++r) {
      simd::add_map(
          dx + x_start + r * N, columns, [](simd::V g) { return g; }, turned + r * tile);
    }
  });
}

}  // namespace chalk::cpu
