#pragma once
// Broadcast sum and product with loops.
// Contract: kernels/broadcast.h. Derivation: docs/derivations/broadcast.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// Calls f(y index, a index, b index) for every number of y, in order.
template <class F>
void for_each_broadcast(const BroadcastShape& s, F f) {
  int64_t i = 0;
  for (int64_t i0 = 0; i0 < s.dim[0]; ++i0) {
    for (int64_t i1 = 0; i1 < s.dim[1]; ++i1) {
      for (int64_t i2 = 0; i2 < s.dim[2]; ++i2) {
        for (int64_t i3 = 0; i3 < s.dim[3]; ++i3, ++i) {
          const int64_t ia =
              i0 * s.a_stride[0] + i1 * s.a_stride[1] + i2 * s.a_stride[2] + i3 * s.a_stride[3];
          const int64_t ib =
              i0 * s.b_stride[0] + i1 * s.b_stride[1] + i2 * s.b_stride[2] + i3 * s.b_stride[3];
          f(i, ia, ib);
        }
      }
    }
  }
}

template <class T>
void add_forward(T* y, const T* a, const T* b, const BroadcastShape& shape) {
  // y = a + b
  for_each_broadcast(shape, [=](int64_t i, int64_t ia, int64_t ib) { y[i] = a[ia] + b[ib]; });
}

template <class T>
void add_backward(T* da, T* db, const T* dy, const BroadcastShape& shape) {
  // da += dy      db += dy      (a stretched entry meets every dy it was copied to)
  for_each_broadcast(shape, [=](int64_t i, int64_t ia, int64_t ib) {
    if (da) da[ia] += dy[i];
    if (db) db[ib] += dy[i];
  });
}

template <class T>
void mul_forward(T* y, const T* a, const T* b, const BroadcastShape& shape) {
  // y = a · b
  for_each_broadcast(shape, [=](int64_t i, int64_t ia, int64_t ib) { y[i] = a[ia] * b[ib]; });
}

template <class T>
void mul_backward(T* da, T* db, const T* dy, const T* a, const T* b, const BroadcastShape& shape) {
  // da += dy · b      db += dy · a
  for_each_broadcast(shape, [=](int64_t i, int64_t ia, int64_t ib) {
    if (da) da[ia] += dy[i] * b[ib];
    if (db) db[ib] += dy[i] * a[ia];
  });
}

}  // namespace chalk::plain
