#pragma once
// Dropout (Srivastava et al. 2014), inverted:  y = x / (1 − p) with probability 1 − p, else 0.
//
// Number i is kept iff uniform(seed, i) ≥ p, where uniform is Philox (kernels/philox.h): the mask is never stored, backward draws
// it again, and every backend and thread count sees the same one. Backward adds (+=) into dx.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void dropout_forward(T* y, const T* x, int64_t count, float p, uint64_t seed);
template <class T>
void dropout_backward(T* dx, const T* dy, int64_t count, float p, uint64_t seed);
}  // namespace plain

namespace cpu {
void dropout_forward(float* y, const float* x, int64_t count, float p, uint64_t seed);
void dropout_backward(float* dx, const float* dy, int64_t count, float p, uint64_t seed);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void dropout_forward(float* y, const float* x, int64_t count, float p, uint64_t seed);
void dropout_backward(float* dx, const float* dy, int64_t count, float p, uint64_t seed);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/dropout.h"
