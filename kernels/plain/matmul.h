#pragma once
// The matrix product with three loops. Contract: kernels/matmul.h. Derivation: docs/derivations/matmul.md.

#include <type_traits>

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// Of float numbers only: the derivative of rounding is zero almost everywhere, which no complex step should find.
template <class T>
T rounded_operand(T x, Precision precision) {
  if constexpr (std::is_same_v<T, float>) return rounded(x, precision);
  return x;
}

template <class T>
void matmul(T* y, const T* a, const T* b, const T* bias, const MatmulShape& shape, T* /*workspace*/) {
  const int64_t M = shape.M, N = shape.N, K = shape.K;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) {
      // y_mn = Σ_k op(a)_mk · op(b)_kn + bias_n
      Wide<T> sum = 0;
      for (int64_t k = 0; k < K; ++k) {
        const T a_mk = shape.transpose_a ? a[k * M + m] : a[m * K + k];
        const T b_kn = shape.transpose_b ? b[n * K + k] : b[k * N + n];
        sum +=
            Wide<T>(rounded_operand(a_mk, shape.precision)) * Wide<T>(rounded_operand(b_kn, shape.precision));
      }
      if (bias) sum += Wide<T>(bias[n]);
      if (shape.accumulate) sum += Wide<T>(y[m * N + n]);
      y[m * N + n] = T(sum);
    }
  }
}

}  // namespace chalk::plain
