// y_nc = e^(x_nc − max) / Σ_c e^(x_nc − max)
// Grid: one block per 64 rows, 64 threads.
// A thread owns a row and reads it three times: for the maximum, for the sum, for the result.
// Bytes: 16 a number as asked, but every lane fetches a 32-byte sector for its 4 bytes. Bound: memory, an eighth of its bandwidth.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int threads = 64;

// One row, one thread: no cooperation to think about. But at every step the lanes of a warp stand in 32 different rows.
__global__ void thread_per_row_kernel(float* y, const float* x, int N, int C) {
  const int n = blockIdx.x * threads + threadIdx.x;
  if (n >= N) return;
  const float* x_n = x + n * C;
  float max = -INFINITY;
  for (int c = 0; c < C; ++c) max = fmaxf(max, x_n[c]);
  float sum = 0;
  for (int c = 0; c < C; ++c) sum += expf(x_n[c] - max);
  for (int c = 0; c < C; ++c) y[n * C + c] = expf(x_n[c] - max) / sum;
}

}  // namespace

void softmax_01_thread_per_row(float* y, const float* x, int N, int C) {
  LAUNCH(thread_per_row_kernel, unsigned(cuda::ceil_divide(N, threads)), threads, 0, cuda::stream(), y, x, N,
         C);
  cuda::check_launch("softmax_01_thread_per_row");
}

}  // namespace chalk::ladder
