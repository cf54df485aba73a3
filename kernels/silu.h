#pragma once
// SiLU, also called swish:  y = x · σ(x),  σ(x) = 1 / (1 + e^−x).   dy/dx = σ(x) · (1 + x · (1 − σ(x)))
//
// Backward adds (+=) into dx. All arrays hold `count` numbers.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void silu_forward(T* y, const T* x, int64_t count);
template <class T>
void silu_backward(T* dx, const T* dy, const T* x, int64_t count);
}  // namespace plain

namespace cpu {
void silu_forward(float* y, const float* x, int64_t count);
void silu_backward(float* dx, const float* dy, const float* x, int64_t count);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void silu_forward(float* y, const float* x, int64_t count);
void silu_backward(float* dx, const float* dy, const float* x, int64_t count);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/silu.h"
