// y_a = x_a · cos − x_b · sin      y_b = x_b · cos + x_a · sin      backward: dx += the turn by −angle of dy
// Grid: one block per 256 pairs of channels, 256 threads. A thread owns one pair (a, b) of one head at one position.
// Neighbouring threads own neighbouring pairs of a head, so all reads and writes are coalesced.
// Bytes: forward 8 a number (cos and sin come from the cache), backward 12. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/rope.h"

namespace chalk::cuda {
namespace {

template <bool backward>
__global__ void rope_kernel(float* y, const float* x, const float* cos, const float* sin, int64_t rows,
                            int64_t time, int64_t H, int64_t D, bool interleaved) {
  const int64_t half = D / 2;
  const int64_t pair = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pair >= rows * half) return;
  const int64_t row = pair / half, i = pair % half, t = row / H % time;  // rows = B · time · H
  const int64_t a = row * D + (interleaved ? 2 * i : i);
  const int64_t b = row * D + (interleaved ? 2 * i + 1 : i + half);
  const float c = cos[t * half + i];
  const float s = backward ? -sin[t * half + i] : sin[t * half + i];
  const float x_a = x[a], x_b = x[b];
  // y_a = x_a · cos − x_b · sin      y_b = x_b · cos + x_a · sin
  const float y_a = x_a * c - x_b * s, y_b = x_b * c + x_a * s;
  y[a] = backward ? y[a] + y_a : y_a;
  y[b] = backward ? y[b] + y_b : y_b;
}

}  // namespace

void rope_forward(float* y, const float* x, const float* cos, const float* sin, int64_t B, int64_t time,
                  int64_t H, int64_t D, bool interleaved) {
  const int64_t rows = B * time * H;
  if (rows * D == 0) return;
  LAUNCH(rope_kernel<false>, unsigned(ceil_divide(rows * D / 2, item_threads)), item_threads, 0, stream(), y,
         x, cos, sin, rows, time, H, D, interleaved);
  check_launch("rope_forward");
}

void rope_backward(float* dx, const float* dy, const float* cos, const float* sin, int64_t B, int64_t time,
                   int64_t H, int64_t D, bool interleaved) {
  const int64_t rows = B * time * H;
  if (rows * D == 0) return;
  LAUNCH(rope_kernel<true>, unsigned(ceil_divide(rows * D / 2, item_threads)), item_threads, 0, stream(), dx,
         dy, cos, sin, rows, time, H, D, interleaved);
  check_launch("rope_backward");
}

}  // namespace chalk::cuda
