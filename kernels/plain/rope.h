#pragma once
// Rotary position embedding with loops. Contract: kernels/rope.h. Derivation: docs/derivations/rope.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// Turns every pair of channels of x by direction · angle (direction is ±1) and stores or adds the result.
template <class T>
void rope_turn(T* y, const T* x, const T* cos, const T* sin, int64_t B, int64_t time, int64_t H, int64_t D,
               bool interleaved, double direction, bool add) {
  const int64_t half = D / 2;
  for (int64_t row = 0; row < B * time * H; ++row) {
    const int64_t t = row / H % time;
    const T* x_row = x + row * D;
    T* y_row = y + row * D;
    for (int64_t i = 0; i < half; ++i) {
      const int64_t a = interleaved ? 2 * i : i;
      const int64_t b = interleaved ? 2 * i + 1 : i + half;
      const Wide<T> c = cos[t * half + i];
      const Wide<T> s = direction * Wide<T>(sin[t * half + i]);
      const Wide<T> x_a = x_row[a], x_b = x_row[b];
      // y_a = x_a · cos − x_b · sin      y_b = x_b · cos + x_a · sin
      const T y_a = T(x_a * c - x_b * s);
      const T y_b = T(x_b * c + x_a * s);
      y_row[a] = add ? y_row[a] + y_a : y_a;
      y_row[b] = add ? y_row[b] + y_b : y_b;
    }
  }
}

template <class T>
void rope_forward(T* y, const T* x, const T* cos, const T* sin, int64_t B, int64_t time, int64_t H, int64_t D,
                  bool interleaved) {
  rope_turn(y, x, cos, sin, B, time, H, D, interleaved, 1, false);
}

template <class T>
void rope_backward(T* dx, const T* dy, const T* cos, const T* sin, int64_t B, int64_t time, int64_t H,
                   int64_t D, bool interleaved) {
  // A turn's transpose is the turn back:  dx += R(−angle) · dy
  rope_turn(dx, dy, cos, sin, B, time, H, D, interleaved, -1, true);
}

}  // namespace chalk::plain
