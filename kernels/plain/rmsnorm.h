#pragma once
// RMSNorm with loops. Contract: kernels/rmsnorm.h. Derivation: docs/derivations/rmsnorm.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void rmsnorm_forward(T* y, T* rstd, const T* x, const T* weight, int64_t N, int64_t C, float eps) {
  for (int64_t n = 0; n < N; ++n) {
    const T* x_n = x + n * C;

    // rstd = 1 / √(Σ x² / C + eps)
    Wide<T> square_sum = 0;
    for (int64_t c = 0; c < C; ++c) square_sum += Wide<T>(x_n[c]) * Wide<T>(x_n[c]);
    const Wide<T> r = 1.0 / std::sqrt(square_sum / double(C) + double(eps));

    // y = x · rstd · weight
    for (int64_t c = 0; c < C; ++c) y[n * C + c] = T(Wide<T>(x_n[c]) * r * Wide<T>(weight[c]));
    rstd[n] = T(r);
  }
}

template <class T>
void rmsnorm_backward(T* dx, T* dweight, const T* dy, const T* x, const T* weight, const T* rstd, int64_t N,
                      int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T* x_n = x + n * C;
    const T* dy_n = dy + n * C;
    const Wide<T> r = rstd[n];

    // x̂ = x · rstd,  g = dy · weight; first mean(g · x̂) over the row, then one pass.
    Wide<T> gx_sum = 0;
    for (int64_t c = 0; c < C; ++c) {
      gx_sum += Wide<T>(dy_n[c]) * Wide<T>(weight[c]) * Wide<T>(x_n[c]) * r;
    }
    const Wide<T> gx_mean = gx_sum / double(C);

    for (int64_t c = 0; c < C; ++c) {
      const Wide<T> x_hat = Wide<T>(x_n[c]) * r;
      const Wide<T> g = Wide<T>(dy_n[c]) * Wide<T>(weight[c]);
      // dx = rstd · (g − x̂ · mean(g · x̂))
      if (dx) dx[n * C + c] += T(r * (g - x_hat * gx_mean));
    }
  }

  // dweight = Σ_n dy · x̂: column by column, so that the sum stays in the wide type.
  for (int64_t c = 0; c < C && dweight; ++c) {
    Wide<T> weight_sum = 0;
    for (int64_t n = 0; n < N; ++n) {
      weight_sum += Wide<T>(dy[n * C + c]) * Wide<T>(x[n * C + c]) * Wide<T>(rstd[n]);
    }
    dweight[c] += T(weight_sum);
  }
}

}  // namespace chalk::plain
