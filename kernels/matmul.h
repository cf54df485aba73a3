#pragma once
// Matrix product, all transposes:  y (M, N)  [+]=  op(a) (M, K) · op(b) (K, N) + bias (N)
//
//   transpose_a: a is stored (K, M)      transpose_b: b is stored (N, K)      accumulate: add to y instead of overwriting it
// A linear layer (weight (out, in)) is three of them:
//   y  = x · weightᵀ + bias     M = rows, N = out, K = in,   transpose_b
//   dx += dy · weight           M = rows, N = in,  K = out,  accumulate
//   dweight += dyᵀ · x          M = out,  N = in,  K = rows, transpose_a, accumulate
// precision: what op(a) and op(b) are rounded to (kernels/precision.h); products, sums, bias and y are float32. A GPU's TF32
// products may cut the operands off instead of rounding them, and its sums come in an order of their own.
// bias may be null. workspace holds matmul_workspace(shape) bytes on that backend (64-byte aligned); null when that is 0.

#include <cstdint>

#include "kernels/precision.h"

namespace chalk {
struct MatmulShape {
  int64_t M, N, K;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
  Precision precision = Precision::FP32;
};

namespace plain {
template <class T>
void matmul(T* y, const T* a, const T* b, const T* bias, const MatmulShape& shape, T* workspace);
inline int64_t matmul_workspace(const MatmulShape&) {
  return 0;
}
}  // namespace plain

namespace cpu {
void matmul(float* y, const float* a, const float* b, const float* bias, const MatmulShape& shape,
            float* workspace);
int64_t matmul_workspace(const MatmulShape& shape);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void matmul(float* y, const float* a, const float* b, const float* bias, const MatmulShape& shape,
            float* workspace);
int64_t matmul_workspace(const MatmulShape& shape);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/matmul.h"
