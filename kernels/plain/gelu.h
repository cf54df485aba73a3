#pragma once
// Both forms of GELU with loops. Contract: kernels/gelu.h. Derivation: docs/derivations/gelu.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

constexpr double sqrt_two_over_pi = 0.7978845608028654;  // √(2/π)
constexpr double sqrt_half = 0.7071067811865476;         // 1/√2

template <class T>
void gelu_tanh_forward(T* y, const T* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> v = x[i];
    // u = √(2/π) · (x + 0.044715 x³)      y = x/2 · (1 + tanh(u))
    const Wide<T> u = sqrt_two_over_pi * (v + 0.044715 * v * v * v);
    y[i] = T(0.5 * v * (1.0 + std::tanh(u)));
  }
}

template <class T>
void gelu_tanh_backward(T* dx, const T* dy, const T* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> v = x[i];
    const Wide<T> u = sqrt_two_over_pi * (v + 0.044715 * v * v * v);
    // du/dx = √(2/π) · (1 + 3 · 0.044715 x²)
    const Wide<T> du = sqrt_two_over_pi * (1.0 + 3 * 0.044715 * v * v);
    const Wide<T> t = std::tanh(u);
    // dy/dx = (1 + t) / 2 + x/2 · (1 − t²) · du/dx,  t = tanh(u)
    const Wide<T> slope = 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * du;
    dx[i] += T(Wide<T>(dy[i]) * slope);
  }
}

template <class T>
void gelu_erf_forward(T* y, const T* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> v = x[i];
    // y = x · Φ(x) = x/2 · (1 + erf(x / √2))
    y[i] = T(0.5 * v * (1.0 + erf(v * sqrt_half)));
  }
}

template <class T>
void gelu_erf_backward(T* dx, const T* dy, const T* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> v = x[i];
    // Φ(x) = (1 + erf(x / √2)) / 2      φ(x) = e^(−x²/2) / √(2π)
    const Wide<T> Phi = 0.5 * (1.0 + erf(v * sqrt_half));
    const Wide<T> phi = 0.5 * sqrt_two_over_pi * std::exp(-0.5 * v * v);
    // dy/dx = Φ(x) + x · φ(x)
    dx[i] += T(Wide<T>(dy[i]) * (Phi + v * phi));
  }
}

}  // namespace chalk::plain
