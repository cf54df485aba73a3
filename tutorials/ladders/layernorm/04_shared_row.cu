// y = (x − mean) · rstd · weight + bias,  rstd = 1 / √(mean((x − mean)²) + eps)      (C at most 3072)
// Grid: one block per 4 rows, 128 threads.
// A warp owns a row, which it keeps in shared memory; each lane every 32nd number of it.
// Bytes: 8 a number, the least there is, and four shared accesses. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 4;

// The row is fetched once; mean and variance are the plain two readings again, but of shared memory. (softmax/04 keeps the
// row in registers instead; here its length need not be known to the compiler.) No barrier: a lane reads back only what it
// wrote itself. Lanes are neighbours in memory and so in the banks.
__global__ void shared_row_kernel(float* y, const float* x, const float* weight, const float* bias, int N,
                                  int C) {
  DYN_SHARED(float, block_rows);  // (rows, C)
  const int n = blockIdx.x * rows + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  float* row = block_rows + threadIdx.x / 32 * C;
  float sum = 0;
  for (int c = lane; c < C; c += 32) {
    const float x_nc = x[n * C + c];
    row[c] = x_nc;
    sum += x_nc;
  }
  const float mean = cuda::warp_sum(sum) / float(C);
  float square_sum = 0;
  for (int c = lane; c < C; c += 32) square_sum += (row[c] - mean) * (row[c] - mean);
  const float rstd = 1.0f / sqrtf(cuda::warp_sum(square_sum) / float(C) + layernorm_eps);
  for (int c = lane; c < C; c += 32) y[n * C + c] = (row[c] - mean) * rstd * weight[c] + bias[c];
}

}  // namespace

void layernorm_04_shared_row(float* y, const float* x, const float* weight, const float* bias, int N, int C) {
  LAUNCH(shared_row_kernel, unsigned(cuda::ceil_divide(N, rows)), rows * 32, rows * size_t(C) * sizeof(float),
         cuda::stream(), y, x, weight, bias, N, C);
  cuda::check_launch("layernorm_04_shared_row");
}

}  // namespace chalk::ladder
