// y = (x − mean) · rstd · weight + bias,  rstd = 1 / √(mean((x − mean)²) + eps)
// Grid: one block per 64 rows, 64 threads.
// A thread owns a row and reads it three times: for the mean, for the variance, for the result.
// Bytes: 16 a number as asked, but every lane fetches a 32-byte sector for its 4 bytes. Bound: memory, an eighth of its bandwidth.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int threads = 64;

// The formula as it stands, a row a thread: at every step the lanes of a warp stand in 32 different rows.
__global__ void thread_per_row_kernel(float* y, const float* x, const float* weight, const float* bias, int N,
                                      int C) {
  const int n = blockIdx.x * threads + threadIdx.x;
  if (n >= N) return;
  const float* x_n = x + n * C;
  float sum = 0;
  for (int c = 0; c < C; ++c) sum += x_n[c];
  const float mean = sum / float(C);
  float square_sum = 0;
  for (int c = 0; c < C; ++c) square_sum += (x_n[c] - mean) * (x_n[c] - mean);
  const float rstd = 1.0f / sqrtf(square_sum / float(C) + layernorm_eps);
  for (int c = 0; c < C; ++c) y[n * C + c] = (x_n[c] - mean) * rstd * weight[c] + bias[c];
}

}  // namespace

void layernorm_01_thread_per_row(float* y, const float* x, const float* weight, const float* bias, int N,
                                 int C) {
  LAUNCH(thread_per_row_kernel, unsigned(cuda::ceil_divide(N, threads)), threads, 0, cuda::stream(), y, x,
         weight, bias, N, C);
  cuda::check_launch("layernorm_01_thread_per_row");
}

}  // namespace chalk::ladder
