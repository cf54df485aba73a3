#pragma once
// A block of columns of a matrix: what slicing and joining along an axis come down to once the axes before it are rows
// and the axes after it are folded into the columns.
//
//   columns_copy:  y[n, y_start + c]  = x[n, x_start + c]
//   columns_add:   y[n, y_start + c] += x[n, x_start + c]      for n < N, c < C; rows of y and x are y_width, x_width long

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void columns_copy(T* y, int64_t y_width, int64_t y_start, const T* x, int64_t x_width, int64_t x_start,
                  int64_t N, int64_t C);
template <class T>
void columns_add(T* y, int64_t y_width, int64_t y_start, const T* x, int64_t x_width, int64_t x_start,
                 int64_t N, int64_t C);
}  // namespace plain

namespace cpu {
void columns_copy(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width,
                  int64_t x_start, int64_t N, int64_t C);
void columns_add(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width, int64_t x_start,
                 int64_t N, int64_t C);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void columns_copy(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width,
                  int64_t x_start, int64_t N, int64_t C);
void columns_add(float* y, int64_t y_width, int64_t y_start, const float* x, int64_t x_width, int64_t x_start,
                 int64_t N, int64_t C);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/columns.h"
