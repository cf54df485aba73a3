// y = x · rstd · weight, rstd = 1 / √(Σ x² / C + eps)      dx += rstd · (g − x̂ · mean(g · x̂)), g = dy · weight, x̂ = x · rstd
// Grid: one block per row, 32 to 256 threads; for dweight one block per 8 columns, 256 threads.
// A block owns a row: each thread adds up every blockDim-th number of it, then the block adds. Or 8 columns, 32 rows at a time.
// Bytes: forward 8 a number (the second reading is from the cache), backward 16 + 8. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/rmsnorm.h"

namespace chalk::cuda {
namespace {

__global__ void rmsnorm_forward_kernel(float* y, float* rstd, const float* x, const float* weight, int64_t C,
                                       float eps) {
  const int64_t n = blockIdx.x;
  const float* x_n = x + n * C;
  float square_sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) square_sum += x_n[c] * x_n[c];
  // rstd = 1 / √(Σ x² / C + eps)
  const float r = 1.0f / sqrtf(block_sum(square_sum) / float(C) + eps);
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) y[n * C + c] = x_n[c] * r * weight[c];
  if (threadIdx.x == 0) rstd[n] = r;
}

__global__ void rmsnorm_dx_kernel(float* dx, const float* dy, const float* x, const float* weight,
                                  const float* rstd, int64_t C) {
  const int64_t n = blockIdx.x;
  const float *x_n = x + n * C, *dy_n = dy + n * C;
  const float r = rstd[n];
  float gx_sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) gx_sum += dy_n[c] * weight[c] * x_n[c] * r;
  const float gx_mean = block_sum(gx_sum) / float(C);
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    // dx = rstd · (g − x̂ · mean(g · x̂))
    dx[n * C + c] += r * (dy_n[c] * weight[c] - x_n[c] * r * gx_mean);
  }
}

// dweight += Σ_n dy · x̂
__global__ void rmsnorm_dweight_kernel(float* dweight, const float* dy, const float* x, const float* rstd,
                                       int64_t N, int64_t C) {
  const int64_t c = int64_t(blockIdx.x) * column_block + threadIdx.x % column_block;
  float sum = 0;
  for (int64_t n = threadIdx.x / column_block; n < N && c < C; n += column_rows)
    sum += dy[n * C + c] * x[n * C + c] * rstd[n];
  sum = column_sum(sum);
  if (threadIdx.x < column_block && c < C) dweight[c] += sum;
}

}  // namespace

void rmsnorm_forward(float* y, float* rstd, const float* x, const float* weight, int64_t N, int64_t C,
                     float eps) {
  if (N == 0) return;
  LAUNCH(rmsnorm_forward_kernel, unsigned(N), row_threads(C), 0, stream(), y, rstd, x, weight, C, eps);
  check_launch("rmsnorm_forward");
}

void rmsnorm_backward(float* dx, float* dweight, const float* dy, const float* x, const float* weight,
                      const float* rstd, int64_t N, int64_t C) {
  if (N == 0) return;
  if (dx) LAUNCH(rmsnorm_dx_kernel, unsigned(N), row_threads(C), 0, stream(), dx, dy, x, weight, rstd, C);
  if (dweight) {
    LAUNCH(rmsnorm_dweight_kernel, unsigned(ceil_divide(C, column_block)), column_threads, 0, stream(),
           dweight, dy, x, rstd, N, C);
  }
  check_launch("rmsnorm_backward");
}

}  // namespace chalk::cuda
