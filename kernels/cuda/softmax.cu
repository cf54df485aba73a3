// y = e^(x − max) / Σ e^(x − max)      dx += y · (dy − Σ dy · y);   log: y = x − max − log Σ e^(x − max)      dx += dy − e^y · Σ dy
// Grid: one block per row, 32 to 256 threads. A block owns a row; each thread every blockDim-th number of it.
// Sums and maxima go through shuffles within a warp, then through shared memory.
// Bytes: forward 8 a number (rows are read three times, but from the cache), backward 16. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/softmax.h"

namespace chalk::cuda {
namespace {

__global__ void softmax_forward_kernel(float* y, const float* x, int64_t C, bool log) {
  const int64_t n = blockIdx.x;
  const float* x_n = x + n * C;
  float largest = -INFINITY;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) largest = fmaxf(largest, x_n[c]);
  const float max = block_max(largest);

  float sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) sum += expf(x_n[c] - max);
  sum = block_sum(sum);

  const float log_sum = logf(sum);
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    y[n * C + c] = log ? x_n[c] - max - log_sum : expf(x_n[c] - max) / sum;
  }
}

__global__ void softmax_backward_kernel(float* dx, const float* dy, const float* y, int64_t C, bool log) {
  const int64_t n = blockIdx.x;
  const float *y_n = y + n * C, *dy_n = dy + n * C;
  float dot = 0;  // Σ dy · y, or Σ dy
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) dot += log ? dy_n[c] : dy_n[c] * y_n[c];
  dot = block_sum(dot);
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    dx[n * C + c] += log ? dy_n[c] - expf(y_n[c]) * dot : y_n[c] * (dy_n[c] - dot);
  }
}

void forward(float* y, const float* x, int64_t N, int64_t C, bool log) {
  if (N == 0 || C == 0) return;
  LAUNCH(softmax_forward_kernel, unsigned(N), row_threads(C), 0, stream(), y, x, C, log);
  check_launch("softmax_forward");
}

void backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C, bool log) {
  if (N == 0 || C == 0) return;
  LAUNCH(softmax_backward_kernel, unsigned(N), row_threads(C), 0, stream(), dx, dy, y, C, log);
  check_launch("softmax_backward");
}

}  // namespace

void softmax_forward(float* y, const float* x, int64_t N, int64_t C) {
  forward(y, x, N, C, false);
}
void softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C) {
  backward(dx, dy, y, N, C, false);
}
void log_softmax_forward(float* y, const float* x, int64_t N, int64_t C) {
  forward(y, x, N, C, true);
}
void log_softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C) {
  backward(dx, dy, y, N, C, true);
}

}  // namespace chalk::cuda
