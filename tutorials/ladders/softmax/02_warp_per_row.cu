// y_nc = e^(x_nc − max) / Σ_c e^(x_nc − max)
// Grid: one block per 4 rows, 128 threads.
// A warp owns a row; each lane every 32nd number of it. Maximum and sum go from lane to lane in five shuffles.
// Bytes: 16 a number, all of each sector used. Bound: memory bandwidth (a cache may serve the second and third reading).

#include "kernels/cuda/block.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 4;

// Neighbouring lanes read neighbouring numbers of one row.
__global__ void warp_per_row_kernel(float* y, const float* x, int N, int C) {
  const int n = blockIdx.x * rows + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  const float* x_n = x + n * C;
  float max = -INFINITY;
  for (int c = lane; c < C; c += 32) max = fmaxf(max, x_n[c]);
  max = cuda::warp_max(max);
  float sum = 0;
  for (int c = lane; c < C; c += 32) sum += expf(x_n[c] - max);
  sum = cuda::warp_sum(sum);
  for (int c = lane; c < C; c += 32) y[n * C + c] = expf(x_n[c] - max) / sum;
}

}  // namespace

void softmax_02_warp_per_row(float* y, const float* x, int N, int C) {
  LAUNCH(warp_per_row_kernel, unsigned(cuda::ceil_divide(N, rows)), rows * 32, 0, cuda::stream(), y, x, N, C);
  cuda::check_launch("softmax_02_warp_per_row");
}

}  // namespace chalk::ladder
