// y = (x − mean) · rstd · weight + bias,  rstd = 1 / √(mean((x − mean)²) + eps)
// Grid: one block per 4 rows, 128 threads.
// A warp owns a row; each lane every 32nd number of it. The sums go from lane to lane in five shuffles.
// Bytes: 16 a number, all of each sector used; weight and bias from the cache. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 4;

// Neighbouring lanes read neighbouring numbers of one row.
__global__ void warp_per_row_kernel(float* y, const float* x, const float* weight, const float* bias, int N,
                                    int C) {
  const int n = blockIdx.x * rows + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  const float* x_n = x + n * C;
  float sum = 0;
  for (int c = lane; c < C; c += 32) sum += x_n[c];
  const float mean = cuda::warp_sum(sum) / float(C);
  float square_sum = 0;
  for (int c = lane; c < C; c += 32) square_sum += (x_n[c] - mean) * (x_n[c] - mean);
  const float rstd = 1.0f / sqrtf(cuda::warp_sum(square_sum) / float(C) + layernorm_eps);
  for (int c = lane; c < C; c += 32) y[n * C + c] = (x_n[c] - mean) * rstd * weight[c] + bias[c];
}

}  // namespace

void layernorm_02_warp_per_row(float* y, const float* x, const float* weight, const float* bias, int N,
                               int C) {
  LAUNCH(warp_per_row_kernel, unsigned(cuda::ceil_divide(N, rows)), rows * 32, 0, cuda::stream(), y, x,
         weight, bias, N, C);
  cuda::check_launch("layernorm_02_warp_per_row");
}

}  // namespace chalk::ladder
