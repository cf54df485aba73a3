#pragma once
// Systems with a triangular matrix t (N, N), by substitution; sums in double whatever the number type.
//
//   solve:    op(t) · x = b,   x_i = (b_i − Σ_k op(t)_ik x_k) / op(t)_ii      op(t) = t, or tᵀ with transpose
//   inverse:  t · x = I; the inverse has the same triangle, the other one is set to 0
//
// Only the named triangle of t is read. Both return −1, or the index of the first diagonal entry that is 0
// (or NaN); then nothing has been written.

#include <cstdint>

namespace chalk {
enum class Triangle { Lower, Upper };

namespace plain {
template <class T>
int64_t triangular_solve(T* x,        // (N, M) b on entry
                         const T* t,  // (N, N)
                         int64_t N, int64_t M, Triangle triangle, bool transpose);
template <class T>
int64_t triangular_inverse(T* x,        // (N, N), not the same array as t
                           const T* t,  // (N, N)
                           int64_t N, Triangle triangle);
}  // namespace plain

namespace cpu {
int64_t triangular_solve(float* x, const float* t, int64_t N, int64_t M, Triangle triangle, bool transpose);
int64_t triangular_solve(double* x, const double* t, int64_t N, int64_t M, Triangle triangle, bool transpose);
int64_t triangular_inverse(float* x, const float* t, int64_t N, Triangle triangle);
int64_t triangular_inverse(double* x, const double* t, int64_t N, Triangle triangle);
}  // namespace cpu
}  // namespace chalk

#include "kernels/plain/triangular.h"
