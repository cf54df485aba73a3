#pragma once
// Sums. Each adds its terms in a fixed order that does not depend on the number of threads.
//
//   sum:          y[0]  = Σ x              sum_backward: dx_i += scale · dy[0]
//   sum_squares:  y[0]  = Σ x²             (gradient norms)
//   sum_rows:     y_c  += Σ_n x_nc         (bias gradients; adds)
//   scale:        y_i   = factor · x_i

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void sum(T* y, const T* x, int64_t count);
template <class T>
void sum_backward(T* dx, const T* dy, T scale, int64_t count);
template <class T>
void sum_squares(T* y, const T* x, int64_t count);
template <class T>
void sum_rows(T* y,        // (C)
              const T* x,  // (N, C)
              int64_t N, int64_t C);
template <class T>
void scale(T* y, const T* x, T factor, int64_t count);
}  // namespace plain

namespace cpu {
void sum(float* y, const float* x, int64_t count);
void sum_backward(float* dx, const float* dy, float scale, int64_t count);
void sum_squares(float* y, const float* x, int64_t count);
void sum_rows(float* y, const float* x, int64_t N, int64_t C);
void scale(float* y, const float* x, float factor, int64_t count);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void sum(float* y, const float* x, int64_t count);
void sum_backward(float* dx, const float* dy, float scale, int64_t count);
void sum_squares(float* y, const float* x, int64_t count);
void sum_rows(float* y, const float* x, int64_t N, int64_t C);
void scale(float* y, const float* x, float factor, int64_t count);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/reduce.h"
