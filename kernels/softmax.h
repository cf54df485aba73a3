#pragma once
// Softmax and log-softmax over the last axis; the row maximum is subtracted first, so large inputs are safe.
//
//   softmax:      y = e^(x − max) / Σ e^(x − max)            dx = y · (dy − Σ dy · y)
//   log_softmax:  y = x − max − log Σ e^(x − max)            dx = dy − e^y · Σ dy
//
// x, y, dx, dy are (N, C). Backward adds (+=) into dx and needs y, not x.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void softmax_forward(T* y, const T* x, int64_t N, int64_t C);
template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, int64_t N, int64_t C);
template <class T>
void log_softmax_forward(T* y, const T* x, int64_t N, int64_t C);
template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, int64_t N, int64_t C);
}  // namespace plain

namespace cpu {
void softmax_forward(float* y, const float* x, int64_t N, int64_t C);
void softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C);
void log_softmax_forward(float* y, const float* x, int64_t N, int64_t C);
void log_softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void softmax_forward(float* y, const float* x, int64_t N, int64_t C);
void softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C);
void log_softmax_forward(float* y, const float* x, int64_t N, int64_t C);
void log_softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/softmax.h"
