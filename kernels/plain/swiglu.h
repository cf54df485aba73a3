#pragma once
// SwiGLU's gate with loops. Contract: kernels/swiglu.h. Derivation: docs/derivations/swiglu.md.

#include "kernels/plain/scalar.h"
#include "kernels/silu.h"

namespace chalk::plain {

template <class T>
void swiglu_forward(T* y, const T* gate, const T* up, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> g = gate[i];
    // y = silu(gate) · up,  silu(g) = g · σ(g)
    y[i] = T(g * sigmoid(g) * Wide<T>(up[i]));
  }
}

template <class T>
void swiglu_backward(T* dgate, T* dup, const T* dy, const T* gate, const T* up, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Wide<T> g = gate[i], dy_i = dy[i];
    const Wide<T> s = sigmoid(g);
    // dup = dy · silu(gate)
    if (dup) dup[i] += T(dy_i * g * s);
    // dgate = dy · up · σ(gate) · (1 + gate · (1 − σ(gate)))
    if (dgate) dgate[i] += T(dy_i * Wide<T>(up[i]) * s * (1.0 + g * (1.0 - s)));
  }
}

}  // namespace chalk::plain
