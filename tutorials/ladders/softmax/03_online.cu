// y_nc = e^(x_nc − max) / Σ_c e^(x_nc − max), the sum corrected whenever the maximum grows
// Grid: one block per 4 rows, 128 threads.
// A warp owns a row; each lane every 32nd number of it, with a maximum and a sum of its own until the end.
// Bytes: 12 a number. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 4;

// Maximum and sum in one reading (Milakov & Gimelshein 2018): Σ e^(x − old) · e^(old − new) = Σ e^(x − new), so a sum
// over what has been seen can be moved to a larger maximum. FlashAttention stands on this line.
__global__ void online_kernel(float* y, const float* x, int N, int C) {
  const int n = blockIdx.x * rows + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  const float* x_n = x + n * C;
  float max = -INFINITY, sum = 0;
  for (int c = lane; c < C; c += 32) {
    const float x_nc = x_n[c], larger = fmaxf(max, x_nc);
    sum = sum * expf(max - larger) + expf(x_nc - larger);
    max = larger;
  }
  const float row_max = cuda::warp_max(max);
  const float row_sum =
      cuda::warp_sum(sum * expf(max - row_max));  // a lane without numbers brings 0 · e^−∞ = 0
  for (int c = lane; c < C; c += 32) y[n * C + c] = expf(x_n[c] - row_max) / row_sum;
}

}  // namespace

void softmax_03_online(float* y, const float* x, int N, int C) {
  LAUNCH(online_kernel, unsigned(cuda::ceil_divide(N, rows)), rows * 32, 0, cuda::stream(), y, x, N, C);
  cuda::check_launch("softmax_03_online");
}

}  // namespace chalk::ladder
