#pragma once
// LayerNorm (Ba, Kiros & Hinton 2016): every row is shifted to mean 0 and scaled to variance 1, then given back a
// learned scale and shift.
//
//   mean = Σ x / C      rstd = 1 / √(Σ (x − mean)² / C + eps)      (biased variance)
//   y    = (x − mean) · rstd · weight + bias
//
// Backward adds (+=) into dx, dweight, dbias; each may be null when nobody wants it.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void layernorm_forward(T* y,             // (N, C)
                       T* mean,          // (N)
                       T* rstd,          // (N)
                       const T* x,       // (N, C)
                       const T* weight,  // (C)
                       const T* bias,    // (C)
                       int64_t N, int64_t C, float eps);
template <class T>
void layernorm_backward(T* dx,        // (N, C)
                        T* dweight,   // (C)
                        T* dbias,     // (C)
                        const T* dy,  // (N, C)
                        const T* x, const T* weight, const T* mean, const T* rstd, int64_t N, int64_t C);
}  // namespace plain

namespace cpu {
void layernorm_forward(float* y, float* mean, float* rstd, const float* x, const float* weight,
                       const float* bias, int64_t N, int64_t C, float eps);
void layernorm_backward(float* dx, float* dweight, float* dbias, const float* dy, const float* x,
                        const float* weight, const float* mean, const float* rstd, int64_t N, int64_t C);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void layernorm_forward(float* y, float* mean, float* rstd, const float* x, const float* weight,
                       const float* bias, int64_t N, int64_t C, float eps);
void layernorm_backward(float* dx, float* dweight, float* dbias, const float* dy, const float* x,
                        const float* weight, const float* mean, const float* rstd, int64_t N, int64_t C);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/layernorm.h"
