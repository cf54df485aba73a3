// RMSNorm with SIMD: rows over the threads, columns over the lanes. Contract: kernels/rmsnorm.h.

#include "kernels/rmsnorm.h"

#include <cmath>

#include "kernels/cpu/column_sums.h"

namespace chalk::cpu {
using simd::set;
using simd::V;

void rmsnorm_forward(float* y, float* rstd, const float* x, const float* weight, int64_t N, int64_t C,
                     float eps) {
  parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      // rstd = 1 / √(Σ x² / C + eps)
      rstd[n] = 1 / std::sqrt(simd::sum_squares(x + n * C, C) / float(C) + eps);
      const V r = set(rstd[n]);
      // y = x · rstd · weight
      simd::map(
          y + n * C, C, [&](V x, V w) { return x * r * w; }, x + n * C, weight);
    }
  });
}

// dx of row n.
static void rmsnorm_backward_row(float* dx, const float* dy, const float* x, const float* weight, float rstd,
                                 int64_t C) {
  const V r = set(rstd);
  // x̂ = x · rstd,  g = dy · weight; first mean(g · x̂) over the row, then one pass.
  const float gx_sum = simd::sum(
      C, [&](V dy, V w, V x) { return dy * w * (x * r); }, dy, weight, x);
  const V gx_mean = set(gx_sum / float(C));
  // dx += rstd · (g − x̂ · mean(g · x̂))
  const auto f = [&](V dy, V w, V x) { return r * (dy * w - x * r * gx_mean); };
  simd::add_map(dx, C, f, dy, weight, x);
}

void rmsnorm_backward(float* dx, float* dweight, const float* dy, const float* x, const float* weight,
                      const float* rstd, int64_t N, int64_t C) {
  if (dx) {
    parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        rmsnorm_backward_row(dx + n * C, dy + n * C, x + n * C, weight, rstd[n], C);
      }
    });
  }
  // dweight += Σ_n dy · x̂
  if (dweight) {
    add_column_sums(dweight, N, C, [&](int64_t n, int64_t c, auto part) {
      return part.load(dy + n * C + c) * (part.load(x + n * C + c) * set(rstd[n]));
    });
  }
}

}  // namespace chalk::cpu
