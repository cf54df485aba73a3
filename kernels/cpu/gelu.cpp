// GELU with SIMD, tanh form and erf form. Contract: kernels/gelu.h.

#include "kernels/gelu.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::mul_add;
using simd::set;
using simd::V;

// The tanh form needs no tanh: 1/2 (1 + tanh u) = σ(2u), and the sigmoid costs one exponential.
// 2u = 2√(2/π) · (x + 0.044715 x³)
static V twice_u(V x) {
  return set(1.5957691216057308f) * mul_add(set(0.044715f) * x, x * x, x);
}

void gelu_tanh_forward(float* y, const float* x, int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    // y = x · σ(2u)
    simd::map(
        y + begin, end - begin, [](V x) { return x * simd::sigmoid(twice_u(x)); }, x + begin);
  });
}

void gelu_tanh_backward(float* dx, const float* dy, const float* x, int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    const auto f = [](V dy, V x) {
      // s = σ(2u) and 1 − s from e^−2u: subtracting s from 1 would lose the digits that (2u)', up to x²,
      // magnifies. (The limit keeps e · s from becoming ∞ · 0; e^80 is as good as ∞ here.)
      const V e = simd::exp(simd::hn::Min(simd::hn::Neg(twice_u(x)), set(80.0f)));
      const V s = set(1.0f) / (set(1.0f) + e), one_minus_s = e * s;
      // (2u)' = 2√(2/π) · (1 + 3 · 0.044715 x²)
      const V slope = set(1.5957691216057308f) * mul_add(set(3 * 0.044715f) * x, x, set(1.0f));
      // dx += dy · (s + x · s · (1 − s) · (2u)')
      return dy * mul_add(x * s * one_minus_s, slope, s);
    };
    simd::add_map(dx + begin, end - begin, f, dy + begin, x + begin);
  });
}

// Φ(x) = 1/2 · (1 + erf(x / √2))
static V normal_cdf(V x) {
  return mul_add(simd::erf(x * set(0.70710678118654752f)), set(0.5f), set(0.5f));
}

void gelu_erf_forward(float* y, const float* x, int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    // y = x · Φ(x)
    simd::map(
        y + begin, end - begin, [](V x) { return x * normal_cdf(x); }, x + begin);
  });
}

void gelu_erf_backward(float* dx, const float* dy, const float* x, int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    const auto f = [](V dy, V x) {
      // φ(x) = e^(−x²/2) / √(2π)
      const V density = set(0.39894228040143268f) * simd::exp(set(-0.5f) * x * x);
      // dx += dy · (Φ(x) + x · φ(x))
      return dy * mul_add(x, density, normal_cdf(x));
    };
    simd::add_map(dx + begin, end - begin, f, dy + begin, x + begin);
  });
}

}  // namespace chalk::cpu
