// LayerNorm with SIMD: rows over the threads, columns over the lanes. Contract: kernels/layernorm.h.

#include "kernels/layernorm.h"

#include <cmath>

#include "kernels/cpu/column_sums.h"

namespace chalk::cpu {
using simd::mul_add;
using simd::set;
using simd::V;

void layernorm_forward(float* y, float* mean, float* rstd, const float* x, const float* weight,
                       const float* bias, int64_t N, int64_t C, float eps) {
  parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const float* x_n = x + n * C;
      mean[n] = simd::sum(x_n, C) / float(C);
      const V m = set(mean[n]);
      const auto square = [&](V x) { return (x - m) * (x - m); };
      rstd[n] = 1 / std::sqrt(simd::sum(C, square, x_n) / float(C) + eps);
      const V r = set(rstd[n]);
      // y = (x − mean) · rstd · weight + bias
      const auto f = [&](V x, V w, V b) { return mul_add((x - m) * r, w, b); };
      simd::map(y + n * C, C, f, x_n, weight, bias);
    }
  });
}

// dx of row n.
static void layernorm_backward_row(float* dx, const float* dy, const float* x, const float* weight,
                                   float mean, float rstd, int64_t C) {
  const V m = set(mean), r = set(rstd);
  // x̂ = (x − mean) · rstd,  g = dy · weight; first the two means over the row, then one pass.
  V g_sum = simd::zero(), gx_sum = simd::zero();
  simd::over_span(C, [&](int64_t c, auto part) {
    // A lane beyond the end has dy = 0, so it adds nothing to either sum.
    const V g = part.load(dy + c) * part.load(weight + c);
    g_sum = g_sum + g;
    gx_sum = mul_add(g, (part.load(x + c) - m) * r, gx_sum);
  });
  const V g_mean = set(simd::sum_of_lanes(g_sum) / float(C));
  const V gx_mean = set(simd::sum_of_lanes(gx_sum) / float(C));
  // dx += rstd · (g − mean(g) − x̂ · mean(g · x̂))
  const auto f = [&](V dy, V x, V w) {
    const V x_hat = (x - m) * r;
    return r * (dy * w - g_mean - x_hat * gx_mean);
  };
  simd::add_map(dx, C, f, dy, x, weight);
}

void layernorm_backward(float* dx, float* dweight, float* dbias, const float* dy, const float* x,
                        const float* weight, const float* mean, const float* rstd, int64_t N, int64_t C) {
  if (dx) {
    parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        layernorm_backward_row(dx + n * C, dy + n * C, x + n * C, weight, mean[n], rstd[n], C);
      }
    });
  }
  // dweight += Σ_n dy · x̂
  if (dweight) {
    add_column_sums(dweight, N, C, [&](int64_t n, int64_t c, auto part) {
      return part.load(dy + n * C + c) * ((part.load(x + n * C + c) - set(mean[n])) * set(rstd[n]));
    });
  }
  // dbias += Σ_n dy
  if (dbias) {
    add_column_sums(dbias, N, C, [&](int64_t n, int64_t c, auto part) { return part.load(dy + n * C + c); });
  }
}

}  // namespace chalk::cpu
