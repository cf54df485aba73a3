// y = (x − mean) · rstd · weight + bias      dx += rstd · (g − mean(g) − x̂ · mean(g · x̂)), g = dy · weight, x̂ = (x − mean) · rstd
// Grid: one block per row, 32 to 256 threads; for dweight, dbias one block per 8 columns, 256 threads.
// A block owns a row: each thread adds up every blockDim-th number of it, then the block adds. Or 8 columns, 32 rows at a time.
// Bytes: forward 8 a number (rows are read three times, but from the cache), backward 16 + 8. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/layernorm.h"

namespace chalk::cuda {
namespace {

__global__ void layernorm_forward_kernel(float* y, float* mean, float* rstd, const float* x,
                                         const float* weight, const float* bias, int64_t C, float eps) {
  const int64_t n = blockIdx.x;
  const float* x_n = x + n * C;

  float sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) sum += x_n[c];
  const float m = block_sum(sum) / float(C);

  float square_sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) square_sum += (x_n[c] - m) * (x_n[c] - m);
  const float r = 1.0f / sqrtf(block_sum(square_sum) / float(C) + eps);

  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) y[n * C + c] = (x_n[c] - m) * r * weight[c] + bias[c];
  if (threadIdx.x == 0) {
    mean[n] = m;
    rstd[n] = r;
  }
}

__global__ void layernorm_dx_kernel(float* dx, const float* dy, const float* x, const float* weight,
                                    const float* mean, const float* rstd, int64_t C) {
  const int64_t n = blockIdx.x;
  const float *x_n = x + n * C, *dy_n = dy + n * C;
  const float m = mean[n], r = rstd[n];

  float g_sum = 0, gx_sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    const float g = dy_n[c] * weight[c];
    g_sum += g;
    gx_sum += g * (x_n[c] - m) * r;
  }
  const float g_mean = block_sum(g_sum) / float(C);
  const float gx_mean = block_sum(gx_sum) / float(C);

  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    const float x_hat = (x_n[c] - m) * r, g = dy_n[c] * weight[c];
    // dx = rstd · (g − mean(g) − x̂ · mean(g · x̂))
    dx[n * C + c] += r * (g - g_mean - x_hat * gx_mean);
  }
}

// dweight += Σ_n dy · x̂      dbias += Σ_n dy
__global__ void layernorm_dweight_kernel(float* dweight, float* dbias, const float* dy, const float* x,
                                         const float* mean, const float* rstd, int64_t N, int64_t C) {
  const int64_t c = int64_t(blockIdx.x) * column_block + threadIdx.x % column_block;
  float weight_sum = 0, bias_sum = 0;
  for (int64_t n = threadIdx.x / column_block; n < N && c < C; n += column_rows) {
    const float dy_nc = dy[n * C + c];
    weight_sum += dy_nc * (x[n * C + c] - mean[n]) * rstd[n];
    bias_sum += dy_nc;
  }
  weight_sum = column_sum(weight_sum);
  bias_sum = column_sum(bias_sum);
  if (threadIdx.x < column_block && c < C) {
    if (dweight) dweight[c] += weight_sum;
    if (dbias) dbias[c] += bias_sum;
  }
}

}  // namespace

void layernorm_forward(float* y, float* mean, float* rstd, const float* x, const float* weight,
                       const float* bias, int64_t N, int64_t C, float eps) {
  if (N == 0) return;
  LAUNCH(layernorm_forward_kernel, unsigned(N), row_threads(C), 0, stream(), y, mean, rstd, x, weight, bias,
         C, eps);
  check_launch("layernorm_forward");
}

void layernorm_backward(float* dx, float* dweight, float* dbias, const float* dy, const float* x,
                        const float* weight, const float* mean, const float* rstd, int64_t N, int64_t C) {
  if (N == 0) return;
  if (dx)
    LAUNCH(layernorm_dx_kernel, unsigned(N), row_threads(C), 0, stream(), dx, dy, x, weight, mean, rstd, C);
  if (dweight || dbias) {
    LAUNCH(layernorm_dweight_kernel, unsigned(ceil_divide(C, column_block)), column_threads, 0, stream(),
           dweight, dbias, dy, x, mean, rstd, N, C);
  }
  check_launch("layernorm_backward");
}

}  // namespace chalk::cuda
