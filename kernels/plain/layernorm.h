#pragma once
// LayerNorm with loops. Contract: kernels/layernorm.h. Derivation: docs/derivations/layernorm.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void layernorm_forward(T* y, T* mean, T* rstd, const T* x, const T* weight, const T* bias, int64_t N,
                       int64_t C, float eps) {
  for (int64_t n = 0; n < N; ++n) {
    const T* x_n = x + n * C;
    T* y_n = y + n * C;

    Wide<T> sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += x_n[c];
    const Wide<T> m = sum / double(C);

    Wide<T> square_sum = 0;
    for (int64_t c = 0; c < C; ++c) square_sum += (Wide<T>(x_n[c]) - m) * (Wide<T>(x_n[c]) - m);
    const Wide<T> r = 1.0 / std::sqrt(square_sum / double(C) + double(eps));

    for (int64_t c = 0; c < C; ++c)
      y_n[c] = T((Wide<T>(x_n[c]) - m) * r * Wide<T>(weight[c]) + Wide<T>(bias[c]));
    mean[n] = T(m);
    rstd[n] = T(r);
  }
}

template <class T>
void layernorm_backward(T* dx, T* dweight, T* dbias, const T* dy, const T* x, const T* weight, const T* mean,
                        const T* rstd, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T* x_n = x + n * C;
    const T* dy_n = dy + n * C;
    const Wide<T> m = mean[n], r = rstd[n];

    // x̂ = (x − mean) · rstd,  g = dy · weight; first the two means over the row, then one pass.
    Wide<T> g_sum = 0, gx_sum = 0;
    for (int64_t c = 0; c < C; ++c) {
      const Wide<T> x_hat = (Wide<T>(x_n[c]) - m) * r;
      const Wide<T> g = Wide<T>(dy_n[c]) * Wide<T>(weight[c]);
      g_sum += g;
      gx_sum += g * x_hat;
    }
    const Wide<T> g_mean = g_sum / double(C), gx_mean = gx_sum / double(C);

    for (int64_t c = 0; c < C; ++c) {
      const Wide<T> x_hat = (Wide<T>(x_n[c]) - m) * r;
      const Wide<T> g = Wide<T>(dy_n[c]) * Wide<T>(weight[c]);
      // dx = rstd · (g − mean(g) − x̂ · mean(g · x̂))
      if (dx) dx[n * C + c] += T(r * (g - g_mean - x_hat * gx_mean));
    }
  }

  // dweight = Σ_n dy · x̂,  dbias = Σ_n dy: column by column, so that the sums stay in the wide type.
  for (int64_t c = 0; c < C; ++c) {
    Wide<T> weight_sum = 0, bias_sum = 0;
    for (int64_t n = 0; n < N; ++n) {
      const Wide<T> x_hat = (Wide<T>(x[n * C + c]) - Wide<T>(mean[n])) * Wide<T>(rstd[n]);
      weight_sum += Wide<T>(dy[n * C + c]) * x_hat;
      bias_sum += Wide<T>(dy[n * C + c]);
    }
    if (dweight) dweight[c] += T(weight_sum);
    if (dbias) dbias[c] += T(bias_sum);
  }
}

}  // namespace chalk::plain
