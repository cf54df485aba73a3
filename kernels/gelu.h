#pragma once
// GELU (Hendrycks & Gimpel 2016), x times the probability that a standard normal number is below x.
//
//   erf form:   y = x · Φ(x) = x/2 · (1 + erf(x / √2))                                  ("gelu")
//   tanh form:  y = x/2 · (1 + tanh(u)),  u = √(2/π) · (x + 0.044715 x³)                 ("gelu_new", GPT-2)
//
// Backward adds (+=) into dx. All arrays hold `count` numbers.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void gelu_tanh_forward(T* y, const T* x, int64_t count);
template <class T>
void gelu_tanh_backward(T* dx, const T* dy, const T* x, int64_t count);
template <class T>
void gelu_erf_forward(T* y, const T* x, int64_t count);
template <class T>
void gelu_erf_backward(T* dx, const T* dy, const T* x, int64_t count);
}  // namespace plain

namespace cpu {
void gelu_tanh_forward(float* y, const float* x, int64_t count);
void gelu_tanh_backward(float* dx, const float* dy, const float* x, int64_t count);
void gelu_erf_forward(float* y, const float* x, int64_t count);
void gelu_erf_backward(float* dx, const float* dy, const float* x, int64_t count);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void gelu_tanh_forward(float* y, const float* x, int64_t count);
void gelu_tanh_backward(float* dx, const float* dy, const float* x, int64_t count);
void gelu_erf_forward(float* y, const float* x, int64_t count);
void gelu_erf_backward(float* dx, const float* dy, const float* x, int64_t count);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/gelu.h"
