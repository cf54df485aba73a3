#pragma once
// Blocks of columns with loops. Contract: kernels/columns.h. Derivation: docs/derivations/columns.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void columns_copy(T* y, int64_t y_width, int64_t y_start, const T* x, int64_t x_width, int64_t x_start,
                  int64_t N, int64_t C) {
  // y[n, y_start + c] = x[n, x_start + c]
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t c = 0; c < C; ++c) y[n * y_width + y_start + c] = x[n * x_width + x_start + c];
  }
}

template <class T>
void columns_add(T* y, int64_t y_width, int64_t y_start, const T* x, int64_t x_width, int64_t x_start,
                 int64_t N, int64_t C) {
  // y[n, y_start + c] += x[n, x_start + c]
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t c = 0; c < C; ++c) y[n * y_width + y_start + c] += x[n * x_width + x_start + c];
  }
}

}  // namespace chalk::plain
