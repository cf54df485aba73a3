#pragma once
// Softmax and log-softmax with loops. Contract: kernels/softmax.h. Derivation: docs/derivations/softmax.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// The entry with the largest real part of a row of C ≥ 1 numbers.
template <class T>
T row_max(const T* x, int64_t C) {
  T max = x[0];
  for (int64_t c = 1; c < C; ++c) {
    if (real_part(x[c]) > real_part(max)) max = x[c];
  }
  return max;
}

// Σ e^(x − max) over a row: between 1 and C, so it neither overflows nor vanishes.
template <class T>
Wide<T> sum_exp(const T* x, Wide<T> max, int64_t C) {
  Wide<T> sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += std::exp(Wide<T>(x[c]) - max);
  return sum;
}

template <class T>
void softmax_forward(T* y, const T* x, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T* x_n = x + n * C;
    const Wide<T> max = row_max(x_n, C);
    const Wide<T> sum = sum_exp(x_n, max, C);
    // y = e^(x − max) / Σ e^(x − max)
    for (int64_t c = 0; c < C; ++c) y[n * C + c] = T(std::exp(Wide<T>(x_n[c]) - max) / sum);
  }
}

template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T* y_n = y + n * C;
    const T* dy_n = dy + n * C;
    Wide<T> dot = 0;
    for (int64_t c = 0; c < C; ++c) dot += Wide<T>(dy_n[c]) * Wide<T>(y_n[c]);
    // dx = y · (dy − Σ dy · y)
    for (int64_t c = 0; c < C; ++c) dx[n * C + c] += T(Wide<T>(y_n[c]) * (Wide<T>(dy_n[c]) - dot));
  }
}

template <class T>
void log_softmax_forward(T* y, const T* x, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T* x_n = x + n * C;
    const Wide<T> max = row_max(x_n, C);
    const Wide<T> log_sum = std::log(sum_exp(x_n, max, C));
    // y = x − max − log Σ e^(x − max)
    for (int64_t c = 0; c < C; ++c) y[n * C + c] = T(Wide<T>(x_n[c]) - max - log_sum);
  }
}

template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T* y_n = y + n * C;
    const T* dy_n = dy + n * C;
    Wide<T> sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += dy_n[c];
    // dx = dy − e^y · Σ dy
    for (int64_t c = 0; c < C; ++c) dx[n * C + c] += T(Wide<T>(dy_n[c]) - std::exp(Wide<T>(y_n[c])) * sum);
  }
}

}  // namespace chalk::plain
