#pragma once
// Sums with loops. Contract: kernels/reduce.h. Derivation: docs/derivations/reduce.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void sum(T* y, const T* x, int64_t count) {
  Wide<T> total = 0;
  for (int64_t i = 0; i < count; ++i) total += x[i];
  y[0] = T(total);
}

template <class T>
void sum_backward(T* dx, const T* dy, T scale, int64_t count) {
  // dx_i += scale · dy[0]
  for (int64_t i = 0; i < count; ++i) dx[i] += scale * dy[0];
}

template <class T>
void sum_squares(T* y, const T* x, int64_t count) {
  Wide<T> total = 0;
  for (int64_t i = 0; i < count; ++i) total += Wide<T>(x[i]) * Wide<T>(x[i]);
  y[0] = T(total);
}

template <class T>
void sum_rows(T* y, const T* x, int64_t N, int64_t C) {
  for (int64_t c = 0; c < C; ++c) {
    // y_c += Σ_n x_nc
    Wide<T> total = y[c];
    for (int64_t n = 0; n < N; ++n) total += x[n * C + c];
    y[c] = T(total);
  }
}

template <class T>
void scale(T* y, const T* x, T factor, int64_t count) {
  // y_i = factor · x_i
  for (int64_t i = 0; i < count; ++i) y[i] = factor * x[i];
}

}  // namespace chalk::plain
