#pragma once
// Swaps the last two axes:  y_bnm = x_bmn.   Backward adds (+=):  dx_bmn += dy_bnm.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void transpose_forward(T* y, const T* x, int64_t B, int64_t M, int64_t N);
template <class T>
void transpose_backward(T* dx, const T* dy, int64_t B, int64_t M, int64_t N);
}  // namespace plain

namespace cpu {
void transpose_forward(float* y, const float* x, int64_t B, int64_t M, int64_t N);
void transpose_backward(float* dx, const float* dy, int64_t B, int64_t M, int64_t N);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void transpose_forward(float* y, const float* x, int64_t B, int64_t M, int64_t N);
void transpose_backward(float* dx, const float* dy, int64_t B, int64_t M, int64_t N);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/transpose.h"
