// columns_copy: y[n, y_start + c] = x[n, x_start + c]      columns_add: y[n, y_start + c] += x[n, x_start + c]
// Grid: one block per 1024 numbers of the copied part, 256 threads. A thread owns 4 numbers, 256 apart.
// Neighbouring threads own neighbouring columns: coalesced, but for the ends of rows.
// Bytes: 8 a number copied, 12 added. Bound: memory bandwidth.

#include "kernels/columns.h"
#include "kernels/cuda/block.h"

namespace chalk::cuda {
namespace {

template <bool add>
__global__ void columns_kernel(float* y, int64_t y_width, const float* x, int64_t x_width, int64_t count,
                               int64_t C) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) {
    const int64_t n = i / C, c = i % C;
    float* to = y + n * y_width + c;
    *to = add ? *to + x[n * x_width + c] : x[n * x_width + c];
  }
}

}  // namespace

void columns_copy(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width,
                  int64_t x_start, int64_t N, int64_t C) {
  if (N * C == 0) return;
  LAUNCH(columns_kernel<false>, item_blocks(N * C), item_threads, 0, stream(), y + y_start, y_width,
         x + x_start, x_width, N * C, C);
  check_launch("columns_copy");
}

void columns_add(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width, int64_t x_start,
                 int64_t N, int64_t C) {
  if (N * C == 0) return;
  LAUNCH(columns_kernel<true>, item_blocks(N * C), item_threads, 0, stream(), y + y_start, y_width,
         x + x_start, x_width, N * C, C);
  check_launch("columns_add");
}

}  // namespace chalk::cuda
