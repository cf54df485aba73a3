#pragma once
// Residual add with loops. Contract: kernels/residual.h. Derivation: docs/derivations/residual.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void residual_forward(T* y, const T* a, const T* b, int64_t count) {
  // y = a + b
  for (int64_t i = 0; i < count; ++i) y[i] = a[i] + b[i];
}

template <class T>
void accumulate(T* dx, const T* dy, int64_t count) {
  // dx += dy
  for (int64_t i = 0; i < count; ++i) dx[i] += dy[i];
}

}  // namespace chalk::plain
