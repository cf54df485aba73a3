// y_nc = e^(x_nc − max) / Σ_c e^(x_nc − max)      (C at most 1024)
// Grid: one block per 4 rows, 128 threads.
// A warp owns a row; each lane every 32nd number of it, up to 32 of them, in registers.
// Bytes: 8 a number, the least there is. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 4, per_lane = softmax_most_C / 32;

// The row is read once and stays in the lanes' registers; e^(x − max) too is computed once. An array stays in registers only
// if every index is known to the compiler: the loops run to the constant per_lane, and what lies beyond C is −∞.
__global__ void registers_kernel(float* y, const float* x, int N, int C) {
  const int n = blockIdx.x * rows + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  float row[per_lane];
  float max = -INFINITY;
  for (int i = 0; i < per_lane; ++i) {
    row[i] = lane + 32 * i < C ? x[n * C + lane + 32 * i] : -INFINITY;
    max = fmaxf(max, row[i]);
  }
  max = cuda::warp_max(max);
  float sum = 0;
  for (int i = 0; i < per_lane; ++i) {
    row[i] = expf(row[i] - max);
    sum += row[i];
  }
  sum = cuda::warp_sum(sum);
  for (int i = 0; i < per_lane; ++i) {
    if (lane + 32 * i < C) y[n * C + lane + 32 * i] = row[i] / sum;
  }
}

}  // namespace

void softmax_04_registers(float* y, const float* x, int N, int C) {
  LAUNCH(registers_kernel, unsigned(cuda::ceil_divide(N, rows)), rows * 32, 0, cuda::stream(), y, x, N, C);
  cuda::check_launch("softmax_04_registers");
}

}  // namespace chalk::ladder
