#pragma once
// Cholesky factorisation of a symmetric positive definite matrix, and what follows from it; sums in double
// whatever the number type (Hessians of a layer's inputs are often nearly singular).
//
//   A = L Lᵀ:   L_jj = √(A_jj − Σ_k<j L_jk²)      L_ij = (A_ij − Σ_k<j L_ik L_jk) / L_jj,  i > j
//
// When A is not positive definite the pivot A_jj − Σ L_jk² is not above 0 for some j. That j is returned, −1
// otherwise: no NaN is ever produced from finite numbers, and the caller can say which row needs damping.

#include <cstdint>

namespace chalk {

// Bytes of scratch of cholesky and inverse_cholesky_upper on every backend.
constexpr int64_t cholesky_block = 64;  // columns that are factored together
inline int64_t cholesky_workspace(int64_t N) {
  return N * cholesky_block * int64_t(sizeof(double));
}

namespace plain {
// Replaces a by L: reads the lower triangle, sets the upper one to 0. Returns −1 or the failing pivot; then
// the columns before it hold L and the rest of a is undefined.
template <class T>
int64_t cholesky(T* a,  // (N, N)
                 int64_t N, double* workspace);

// Solves A x = b, given L.
template <class T>
void cholesky_solve(T* x,        // (N, M) b on entry
                    const T* l,  // (N, N)
                    int64_t N, int64_t M);

// A⁻¹, exactly symmetric, given L.
template <class T>
void cholesky_inverse(T* inverse,  // (N, N), not the same array as l
                      const T* l,  // (N, N)
                      int64_t N);

// The upper factor of the inverse: A⁻¹ = Uᵀ U, which GPTQ and SparseGPT walk row by row. A⁻¹ itself is never
// formed: with P the reversal of all indices, P A P = L Lᵀ gives U = P L⁻¹ P. Returns −1 or the failing pivot
// (an index of A).
template <class T>
int64_t inverse_cholesky_upper(T* u,  // (N, N)
                               T* a,  // (N, N) lower triangle of A on entry, destroyed
                               int64_t N, double* workspace);
}  // namespace plain

namespace cpu {
int64_t cholesky(float* a, int64_t N, double* workspace);
int64_t cholesky(double* a, int64_t N, double* workspace);
void cholesky_solve(float* x, const float* l, int64_t N, int64_t M);
void cholesky_solve(double* x, const double* l, int64_t N, int64_t M);
void cholesky_inverse(float* inverse, const float* l, int64_t N);
void cholesky_inverse(double* inverse, const double* l, int64_t N);
int64_t inverse_cholesky_upper(float* u, float* a, int64_t N, double* workspace);
int64_t inverse_cholesky_upper(double* u, double* a, int64_t N, double* workspace);
}  // namespace cpu
}  // namespace chalk

#include "kernels/plain/cholesky.h"
