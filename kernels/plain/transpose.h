#pragma once
// Swapping the last two axes with loops.
// Contract: kernels/transpose.h. Derivation: docs/derivations/transpose.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void transpose_forward(T* y, const T* x, int64_t B, int64_t M, int64_t N) {
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t m = 0; m < M; ++m) {
      // y_bnm = x_bmn
      for (int64_t n = 0; n < N; ++n) y[(b * N + n) * M + m] = x[(b * M + m) * N + n];
    }
  }
}

template <class T>
void transpose_backward(T* dx, const T* dy, int64_t B, int64_t M, int64_t N) {
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t m = 0; m < M; ++m) {
      // dx_bmn += dy_bnm
      for (int64_t n = 0; n < N; ++n) dx[(b * M + m) * N + n] += dy[(b * N + n) * M + m];
    }
  }
}

}  // namespace chalk::plain
