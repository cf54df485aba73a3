#pragma once
// ReLU with loops. Contract: kernels/relu.h. Derivation: docs/derivations/relu.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void relu_forward(T* y, const T* x, int64_t count) {
  // y = max(x, 0), written so that NaN stays NaN: a broken input must not turn into a zero.
  for (int64_t i = 0; i < count; ++i) y[i] = real_part(x[i]) < 0 ? T(0) : x[i];
}

template <class T>
void relu_backward(T* dx, const T* dy, const T* x, int64_t count) {
  // dy/dx = [x > 0]
  for (int64_t i = 0; i < count; ++i) {
    if (real_part(x[i]) > 0) dx[i] += dy[i];
  }
}

}  // namespace chalk::plain
