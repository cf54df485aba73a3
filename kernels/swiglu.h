#pragma once
// SwiGLU's gate (Shazeer 2020):  y = silu(gate) · up.   The two products around it are ordinary linear layers.
//
//   dup = dy · silu(gate)      dgate = dy · up · σ(gate) · (1 + gate · (1 − σ(gate)))
//
// Backward adds (+=); dgate, dup may be null. All arrays hold `count` numbers.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void swiglu_forward(T* y, const T* gate, const T* up, int64_t count);
template <class T>
void swiglu_backward(T* dgate, T* dup, const T* dy, const T* gate, const T* up, int64_t count);
}  // namespace plain

namespace cpu {
void swiglu_forward(float* y, const float* gate, const float* up, int64_t count);
void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                     int64_t count);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void swiglu_forward(float* y, const float* gate, const float* up, int64_t count);
void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                     int64_t count);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/swiglu.h"
