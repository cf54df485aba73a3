#pragma once
// Eigenvalues and eigenvectors of a symmetric matrix:  A v_n = λ_n v_n,   A = Σ_n λ_n v_n v_nᵀ.
//
// Householder reflections make A tridiagonal, implicit QL steps with Wilkinson's shift make that diagonal
// (Golub & Van Loan, "Matrix Computations", 8.3). All arithmetic is in double, so a float matrix loses
// nothing but its own rounding.
//
// The result is unique wherever the mathematics is: λ_0 ≥ λ_1 ≥ …; the entry of v_n with the largest
// magnitude (the first of them in a tie) is positive. Vectors of equal eigenvalues are some orthonormal basis
// of their space, always the same one for the same input, whatever the number of threads.

#include <cstdint>

namespace chalk {

// Bytes of scratch of symmetric_eigen on every backend: A, the vectors, and five rows.
inline int64_t symmetric_eigen_workspace(int64_t N) {
  return (2 * N * N + 5 * N) * int64_t(sizeof(double));
}

namespace plain {
// Returns false, with nothing written, if A is not finite or QL does not converge (never seen on finite
// input).
template <class T>
bool symmetric_eigen(T* values,   // (N) descending
                     T* vectors,  // (N, N) row n belongs to values[n]
                     const T* a,  // (N, N) its lower triangle is read
                     int64_t N, double* workspace);
}  // namespace plain

namespace cpu {
bool symmetric_eigen(float* values, float* vectors, const float* a, int64_t N, double* workspace);
bool symmetric_eigen(double* values, double* vectors, const double* a, int64_t N, double* workspace);
}  // namespace cpu
}  // namespace chalk

#include "kernels/plain/symmetric_eigen.h"
