#pragma once
// Residual add:  y = a + b.   Both inputs receive dy, through `accumulate`:  dx += dy.
//
// All arrays hold `count` numbers.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void residual_forward(T* y, const T* a, const T* b, int64_t count);
template <class T>
void accumulate(T* dx, const T* dy, int64_t count);
}  // namespace plain

namespace cpu {
void residual_forward(float* y, const float* a, const float* b, int64_t count);
void accumulate(float* dx, const float* dy, int64_t count);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void residual_forward(float* y, const float* a, const float* b, int64_t count);
void accumulate(float* dx, const float* dy, int64_t count);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/residual.h"
