#pragma once
// SiLU with loops. Contract: kernels/silu.h. Derivation: docs/derivations/silu.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// σ(x) = 1 / (1 + e^−x).   For x → −∞ the exponential overflows to +inf and σ is 0, as it should be.
template <class T>
T sigmoid(T x) {
  return 1.0 / (1.0 + std::exp(-x));
}

template <class T>
void silu_forward(T* y, const T* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> v = x[i];
    // y = x · σ(x)
    y[i] = T(v * sigmoid(v));
  }
}

template <class T>
void silu_backward(T* dx, const T* dy, const T* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> v = x[i];
    const Wide<T> s = sigmoid(v);
    // dy/dx = σ(x) · (1 + x · (1 − σ(x)))
    dx[i] += T(Wide<T>(dy[i]) * s * (1.0 + v * (1.0 - s)));
  }
}

}  // namespace chalk::plain
