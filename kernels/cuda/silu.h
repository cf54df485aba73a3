#pragma once
// The logistic function, for silu.cu and swiglu.cu.

#include "kernels/cuda/block.h"

namespace chalk::cuda {

// σ(x) = 1 / (1 + e^−x).   For x → −∞ the exponential overflows to +inf and σ is 0, as it should be.
__device__ inline float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

}  // namespace chalk::cuda
