#pragma once
// Products with a 4-bit weight, with loops. Contract: kernels/nf4_matmul.h. Derivation: docs/derivations/nf4_matmul.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// weight_i = book[code_i] · scale_⌊i / block⌋, rounded to float: every backend multiplies by the same numbers.
inline float nf4_number(const NF4Weight& w, int64_t i) {
  return w.book[nf4_code(w.codes, i)] * nf4_scale(w, i / w.block);
}

template <class T>
void nf4_dequantize(T* y, const NF4Weight& weight, int64_t first, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = T(nf4_number(weight, first + i));
}

template <class T>
void nf4_matmul_forward(T* y, const T* x, const NF4Weight& weight, const T* bias, int64_t N,
                        T* /*workspace*/) {
  const int64_t in = weight.in, out = weight.out;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t o = 0; o < out; ++o) {
      // y_no = Σ_i x_ni · weight_oi + bias_o
      Wide<T> sum = bias ? Wide<T>(bias[o]) : Wide<T>(0);
      for (int64_t i = 0; i < in; ++i) {
        sum += Wide<T>(x[n * in + i]) * Wide<T>(nf4_number(weight, o * in + i));
      }
      y[n * out + o] = T(sum);
    }
  }
}

template <class T>
void nf4_matmul_backward(T* dx, const T* dy, const NF4Weight& weight, int64_t N, T* /*workspace*/) {
  const int64_t in = weight.in, out = weight.out;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t i = 0; i < in; ++i) {
      // dx_ni += Σ_o dy_no · weight_oi
      Wide<T> sum = 0;
      for (int64_t o = 0; o < out; ++o) {
        sum += Wide<T>(dy[n * out + o]) * Wide<T>(nf4_number(weight, o * in + i));
      }
      dx[n * in + i] += T(sum);
    }
  }
}

}  // namespace chalk::plain
