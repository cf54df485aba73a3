// y = gate · σ(gate) · up      dup += dy · silu(gate)      dgate += dy · up · σ(gate) · (1 + gate · (1 − σ(gate)))
// Grid: one block per 1024 numbers, 256 threads. A thread owns 4 numbers, 256 apart.
// Bytes: forward 12 a number, backward 28 (reads dy, gate, up, both gradients, writes both). Bound: memory bandwidth.

#include "kernels/cuda/silu.h"
#include "kernels/swiglu.h"

namespace chalk::cuda {
namespace {

__global__ void swiglu_forward_kernel(float* y, const float* gate, const float* up, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x)
    y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

__global__ void swiglu_backward_kernel(float* dgate, float* dup, const float* dy, const float* gate,
                                       const float* up, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) {
    const float g = gate[i], s = sigmoid(g);
    if (dup) dup[i] += dy[i] * g * s;
    if (dgate) dgate[i] += dy[i] * up[i] * s * (1.0f + g * (1.0f - s));
  }
}

}  // namespace

void swiglu_forward(float* y, const float* gate, const float* up, int64_t count) {
  if (count == 0) return;
  LAUNCH(swiglu_forward_kernel, item_blocks(count), item_threads, 0, stream(), y, gate, up, count);
  check_launch("swiglu_forward");
}

void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                     int64_t count) {
  if (count == 0) return;
  LAUNCH(swiglu_backward_kernel, item_blocks(count), item_threads, 0, stream(), dgate, dup, dy, gate, up,
         count);
  check_launch("swiglu_backward");
}

}  // namespace chalk::cuda
