#pragma once
// The product with packed integers, one weight at a time. Contract: kernels/group_quant_matmul.h.
// Derivation: docs/derivations/group_quant_matmul.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void group_quant_matmul(T* y, const T* x, const GroupQuantWeight& w, const T* bias, int64_t M,
                        bool accumulate, T* /*workspace*/) {
  const int64_t N = w.N, K = w.K;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) {
      // y_mn = Σ_k x_mk · ŵ_nk + bias_n
      Wide<T> sum = 0;
      for (int64_t p = 0; p < w.positions(); ++p) {
        const int64_t k = w.input_at(p);
        if (k >= 0) sum += Wide<T>(x[m * K + k]) * Wide<T>(w.value(n, p));
      }
      if (bias) sum += Wide<T>(bias[n]);
      if (accumulate) sum += Wide<T>(y[m * N + n]);
      y[m * N + n] = T(sum);
    }
  }
}

template <class T>
void group_quant_matmul_dx(T* dx, const T* dy, const GroupQuantWeight& w, int64_t M, T* /*workspace*/) {
  const int64_t N = w.N, K = w.K;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t p = 0; p < w.positions(); ++p) {
      const int64_t k = w.input_at(p);
      if (k < 0) continue;
      // dx_mk += Σ_n dy_mn · ŵ_nk
      Wide<T> sum = 0;
      for (int64_t n = 0; n < N; ++n) sum += Wide<T>(dy[m * N + n]) * Wide<T>(w.value(n, p));
      dx[m * K + k] += T(sum);
    }
  }
}

}  // namespace chalk::plain
