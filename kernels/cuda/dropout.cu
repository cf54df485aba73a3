// y_i = x_i / (1 − p) if uniform(seed, i) ≥ p, else 0      dx_i += dy_i / (1 − p) where kept
// Grid: one block per 1024 numbers, 256 threads. A thread owns 4 numbers in a row: one Philox call gives four words.
// The mask is drawn again in backward, never stored; it is the same on every backend (kernels/philox.h).
// Bytes: forward 8 a number, backward 12. Bound: memory bandwidth, if the ten rounds of Philox hide behind it.

#include "kernels/cuda/block.h"
#include "kernels/dropout.h"
#include "kernels/philox.h"

namespace chalk::cuda {
namespace {

template <bool backward>
__global__ void dropout_kernel(float* y, const float* x, int64_t count, float p, float keep_scale,
                               uint64_t seed) {
  const int64_t group = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (group * 4 >= count) return;
  const auto words = philox(seed, uint64_t(group));
  for (int k = 0; k < 4 && group * 4 + k < count; ++k) {
    const int64_t i = group * 4 + k;
    const bool kept = uniform_of_word(words[size_t(k)]) >= p;
    if (backward) {
      if (kept) y[i] += x[i] * keep_scale;
    } else {
      y[i] = kept ? x[i] * keep_scale : 0.0f;
    }
  }
}

unsigned group_blocks(int64_t count) {
  return unsigned(ceil_divide(count, 4 * item_threads));
}

}  // namespace

void dropout_forward(float* y, const float* x, int64_t count, float p, uint64_t seed) {
  if (count == 0) return;
  LAUNCH(dropout_kernel<false>, group_blocks(count), item_threads, 0, stream(), y, x, count, p, 1 / (1 - p),
         seed);
  check_launch("dropout_forward");
}

void dropout_backward(float* dx, const float* dy, int64_t count, float p, uint64_t seed) {
  if (count == 0) return;
  LAUNCH(dropout_kernel<true>, group_blocks(count), item_threads, 0, stream(), dx, dy, count, p, 1 / (1 - p),
         seed);
  check_launch("dropout_backward");
}

}  // namespace chalk::cuda
