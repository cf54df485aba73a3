#pragma once
// ReLU:  y = max(x, 0).   The derivative at 0 is taken as 0.
//
// Backward adds (+=) into dx. All arrays hold `count` numbers.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void relu_forward(T* y, const T* x, int64_t count);
template <class T>
void relu_backward(T* dx, const T* dy, const T* x, int64_t count);
}  // namespace plain

namespace cpu {
void relu_forward(float* y, const float* x, int64_t count);
void relu_backward(float* dx, const float* dy, const float* x, int64_t count);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void relu_forward(float* y, const float* x, int64_t count);
void relu_backward(float* dx, const float* dy, const float* x, int64_t count);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/relu.h"
