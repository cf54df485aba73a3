// y = max(x, 0)      dx += dy · [x > 0]
// Grid: one block per 1024 numbers, 256 threads. A thread owns 4 numbers, 256 apart.
// Bytes: forward 8 a number, backward 16 (reads dy, x, dx, writes dx). Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/relu.h"

namespace chalk::cuda {
namespace {

__global__ void relu_forward_kernel(float* y, const float* x, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x)
    y[i] = x[i] < 0 ? 0.0f : x[i];  // NaN stays NaN
}

__global__ void relu_backward_kernel(float* dx, const float* dy, const float* x, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) {
    if (x[i] > 0) dx[i] += dy[i];
  }
}

}  // namespace

void relu_forward(float* y, const float* x, int64_t count) {
  if (count == 0) return;
  LAUNCH(relu_forward_kernel, item_blocks(count), item_threads, 0, stream(), y, x, count);
  check_launch("relu_forward");
}

void relu_backward(float* dx, const float* dy, const float* x, int64_t count) {
  if (count == 0) return;
  LAUNCH(relu_backward_kernel, item_blocks(count), item_threads, 0, stream(), dx, dy, x, count);
  check_launch("relu_backward");
}

}  // namespace chalk::cuda
