#pragma once
// Element-wise sum and product of two arrays of up to four axes, NumPy's rule: an axis of length 1 is stretched.
//
//   add: y = a + b      mul: y = a · b
// Backward adds (+=) into da, db (each may be null), summing over stretched axes.

#include <cstdint>

namespace chalk {
struct BroadcastShape {
  int64_t dim[4];       // of y, leading axes padded with 1
  int64_t a_stride[4];  // 0 where a is stretched
  int64_t b_stride[4];
};

namespace plain {
template <class T>
void add_forward(T* y, const T* a, const T* b, const BroadcastShape& shape);
template <class T>
void add_backward(T* da, T* db, const T* dy, const BroadcastShape& shape);
template <class T>
void mul_forward(T* y, const T* a, const T* b, const BroadcastShape& shape);
template <class T>
void mul_backward(T* da, T* db, const T* dy, const T* a, const T* b, const BroadcastShape& shape);
}  // namespace plain

namespace cpu {
void add_forward(float* y, const float* a, const float* b, const BroadcastShape& shape);
void add_backward(float* da, float* db, const float* dy, const BroadcastShape& shape);
void mul_forward(float* y, const float* a, const float* b, const BroadcastShape& shape);
void mul_backward(float* da, float* db, const float* dy, const float* a, const float* b,
                  const BroadcastShape& shape);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void add_forward(float* y, const float* a, const float* b, const BroadcastShape& shape);
void add_backward(float* da, float* db, const float* dy, const BroadcastShape& shape);
void mul_forward(float* y, const float* a, const float* b, const BroadcastShape& shape);
void mul_backward(float* da, float* db, const float* dy, const float* a, const float* b,
                  const BroadcastShape& shape);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/broadcast.h"
