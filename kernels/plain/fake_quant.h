#pragma once
// Fake quantization with loops. Contract: kernels/fake_quant.h. Derivation: docs/derivations/fake_quant.md.

#include <limits>

#include "kernels/philox.h"
#include "kernels/plain/scalar.h"

namespace chalk::plain {

// R: to the nearest whole number, ties to even. On complex numbers the imaginary part passes straight through: the
// straight-through estimator is this rule, so complex step proves the backward.
inline float round_even(float x) {
  return std::nearbyint(x);
}
inline double round_even(double x) {
  return std::nearbyint(x);
}
inline std::complex<double> round_even(std::complex<double> x) {
  return {std::nearbyint(x.real()), x.imag()};
}

template <class T>
T at_least_min_step(T step) {
  return real_part(step) < fake_quant_min_step ? T(fake_quant_min_step) : step;
}

// Where number v of a set falls.
template <class T>
struct FakeQuantPlace {
  T k;          // R(clip(v, low, high))
  bool inside;  // by the rule of `pass`
};

template <class T>
FakeQuantPlace<T> fake_quant_place(T v, float low, float high, GradientPass pass) {
  const T rounded = round_even(v);
  const auto compared = real_part(pass == GradientPass::RoundedInside ? rounded : v);
  const bool strict = pass == GradientPass::Inside;
  if (strict ? compared <= low : compared < low) return {T(low), pass == GradientPass::All};
  if (strict ? compared >= high : compared > high) return {T(high), pass == GradientPass::All};
  return {rounded, true};  // NaN ends here and stays NaN
}

template <class T>
void fake_quant_symmetric(T* step, const T* x, int64_t G, int64_t n, int bits) {
  const T levels = T(float((int64_t{1} << (bits - 1)) - 1));
  for (int64_t g = 0; g < G; ++g) {
    T largest = 0;  // |x|
    for (int64_t i = 0; i < n; ++i) {
      const T v = x[g * n + i], size = real_part(v) < 0 ? -v : v;
      if (real_part(size) > real_part(largest)) largest = size;
    }
    step[g] = at_least_min_step(largest / levels);
  }
}

template <class T>
void fake_quant_asymmetric(T* step, T* zero, const T* x, int64_t G, int64_t n, int bits) {
  const T levels = T(float((int64_t{1} << bits) - 1));
  for (int64_t g = 0; g < G; ++g) {
    T min = 0, max = 0;
    for (int64_t i = 0; i < n; ++i) {
      const T v = x[g * n + i];
      if (real_part(v) < real_part(min)) min = v;
      if (real_part(v) > real_part(max)) max = v;
    }
    step[g] = at_least_min_step((max - min) / levels);
    zero[g] = round_even(-min / step[g]);
  }
}

template <class T>
void fake_quant_range(T* step, T* offset, const T* x, int64_t G, int64_t n, int bits) {
  const T levels = T(float((int64_t{1} << bits) - 1));
  for (int64_t g = 0; g < G; ++g) {
    const float infinity = std::numeric_limits<float>::infinity();
    T min = infinity, max = -infinity;
    for (int64_t i = 0; i < n; ++i) {
      const T v = x[g * n + i];
      if (real_part(v) < real_part(min)) min = v;
      if (real_part(v) > real_part(max)) max = v;
    }
    if (real_part(min) > real_part(max)) min = max = 0;  // an empty set
    step[g] = at_least_min_step((max - min) / levels);
    offset[g] = min;
  }
}

template <class T>
void fake_quant_forward(T* y, const T* x, const T* step, const T* zero, const T* offset, int64_t G, int64_t n,
                        float low, float high) {
  for (int64_t g = 0; g < G; ++g) {
    const T s = at_least_min_step(step[g]), o = offset ? offset[g] : T(0);
    const float z = zero ? float(real_part(zero[g])) : 0;
    for (int64_t i = g * n; i < (g + 1) * n; ++i) {
      const T v = (x[i] - o) / s;
      // y = step · R(clip(v, low − zero, high − zero)) + offset
      y[i] = s * fake_quant_place(v, low - z, high - z, GradientPass::Inside).k + o;
    }
  }
}

template <class T>
void fake_quant_backward(T* dx, T* dstep, T* doffset, const T* dy, const T* x, const T* step, const T* zero,
                         const T* offset, int64_t G, int64_t n, float low, float high, GradientPass pass,
                         float step_scale) {
  for (int64_t g = 0; g < G; ++g) {
    const T s = at_least_min_step(step[g]), o = offset ? offset[g] : T(0);
    const float z = zero ? float(real_part(zero[g])) : 0;
    Wide<T> step_sum = 0, offset_sum = 0;
    for (int64_t i = g * n; i < (g + 1) * n; ++i) {
      const T v = (x[i] - o) / s;
      const FakeQuantPlace<T> place = fake_quant_place(v, low - z, high - z, pass);
      // dx += dy · [inside]
      if (dx && place.inside) dx[i] += dy[i];
      // dstep += step_scale · Σ dy · (inside: R(v) − v;  clipped: the bound)
      step_sum += Wide<T>(dy[i]) * Wide<T>(place.inside ? place.k - v : place.k);
      // doffset += Σ dy · [clipped]
      if (!place.inside) offset_sum += Wide<T>(dy[i]);
    }
    if (dstep) dstep[g] += T(Wide<T>(step_scale) * step_sum);
    if (doffset) doffset[g] += T(offset_sum);
  }
}

template <class T>
void fake_quant_stochastic(T* y, const T* x, const T* step, const T* offset, int64_t G, int64_t n, float low,
                           float high, uint64_t seed) {
  for (int64_t g = 0; g < G; ++g) {
    const T s = at_least_min_step(step[g]), o = offset ? offset[g] : T(0);
    const uint64_t stream = derive_seed(seed, uint64_t(g));
    for (int64_t i = 0; i < n; ++i) {
      const T u = T(random_uniform(stream, uint64_t(i)) - 0.5f);
      const T v = (x[g * n + i] - o) / s + u;
      // y = step · R(clip(v + u, low, high)) + offset
      y[g * n + i] = s * fake_quant_place(v, low, high, GradientPass::Inside).k + o;
    }
  }
}

}  // namespace chalk::plain
