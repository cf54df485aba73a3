#pragma once
// RMSNorm (Zhang & Sennrich 2019): every row is divided by its root mean square, then scaled.
//
//   rstd = 1 / √(Σ x² / C + eps)      y = x · rstd · weight
//
// Backward adds (+=) into dx, dweight; each may be null.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void rmsnorm_forward(T* y,             // (N, C)
                     T* rstd,          // (N)
                     const T* x,       // (N, C)
                     const T* weight,  // (C)
                     int64_t N, int64_t C, float eps);
template <class T>
void rmsnorm_backward(T* dx,        // (N, C)
                      T* dweight,   // (C)
                      const T* dy,  // (N, C)
                      const T* x, const T* weight, const T* rstd, int64_t N, int64_t C);
}  // namespace plain

namespace cpu {
void rmsnorm_forward(float* y, float* rstd, const float* x, const float* weight, int64_t N, int64_t C,
                     float eps);
void rmsnorm_backward(float* dx, float* dweight, const float* dy, const float* x, const float* weight,
                      const float* rstd, int64_t N, int64_t C);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void rmsnorm_forward(float* y, float* rstd, const float* x, const float* weight, int64_t N, int64_t C,
                     float eps);
void rmsnorm_backward(float* dx, float* dweight, const float* dy, const float* x, const float* weight,
                      const float* rstd, int64_t N, int64_t C);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/rmsnorm.h"
