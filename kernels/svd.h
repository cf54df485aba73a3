#pragma once
// Thin singular value decomposition:  A = U diag(s) Vᵀ,  U (M, R) and V (N, R) with orthonormal columns,
// R = min(M, N).
//
// One-sided Jacobi (Hestenes 1958; Golub & Van Loan, "Matrix Computations", 8.6): pairs of columns of A (of
// rows, if there are fewer of them) are rotated until all are orthogonal; their lengths are then the singular
// values. It is slower than bidiagonalisation but short, and it finds small singular values to high relative
// accuracy. All arithmetic is in double.
//
// The result is unique wherever the mathematics is: s_0 ≥ s_1 ≥ … ≥ 0; the entry of each row of Vᵀ with the
// largest magnitude (the first of them in a tie) is positive. Where s_r is zero to rounding, both factors
// still have orthonormal vectors there. Same input, same bits, whatever the number of threads.

#include <algorithm>
#include <cstdint>

namespace chalk {

// Bytes of scratch of svd on every backend: the rotated matrix, the rotations, the lengths.
inline int64_t svd_workspace(int64_t M, int64_t N) {
  const int64_t R = std::min(M, N), L = std::max(M, N);
  return (R * L + R * R + R) * int64_t(sizeof(double));
}

namespace plain {
// Returns false, with nothing written, if A is not finite or the rotations do not settle (never seen on
// finite input).
template <class T>
bool svd(T* u,        // (M, R)
         T* s,        // (R) descending
         T* vt,       // (R, N) rows are right singular vectors
         const T* a,  // (M, N)
         int64_t M, int64_t N, double* workspace);
}  // namespace plain

namespace cpu {
bool svd(float* u, float* s, float* vt, const float* a, int64_t M, int64_t N, double* workspace);
bool svd(double* u, double* s, double* vt, const double* a, int64_t M, int64_t N, double* workspace);
}  // namespace cpu
}  // namespace chalk

#include "kernels/plain/svd.h"
