#pragma once
// Dropout with loops. Contract: kernels/dropout.h. Derivation: docs/derivations/dropout.md.

#include "kernels/philox.h"
#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void dropout_forward(T* y, const T* x, int64_t count, float p, uint64_t seed) {
  const float keep_scale = 1 / (1 - p);
  for (int64_t i = 0; i < count; ++i) {
    const bool kept = random_uniform(seed, uint64_t(i)) >= p;
    // y = x / (1 − p) where kept, else 0
    y[i] = kept ? x[i] * T(keep_scale) : T(0);
  }
}

template <class T>
void dropout_backward(T* dx, const T* dy, int64_t count, float p, uint64_t seed) {
  const float keep_scale = 1 / (1 - p);
  for (int64_t i = 0; i < count; ++i) {
    const bool kept = random_uniform(seed, uint64_t(i)) >= p;
    // dx += dy / (1 − p) where kept
    if (kept) dx[i] += dy[i] * T(keep_scale);
  }
}

}  // namespace chalk::plain
