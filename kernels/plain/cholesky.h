#pragma once
// Cholesky factorisation with loops. Contract: kernels/cholesky.h.

#include <algorithm>
#include <limits>

#include "kernels/plain/scalar.h"
#include "kernels/triangular.h"

namespace chalk::plain {

template <class T>
int64_t cholesky(T* a, int64_t N, double* /*workspace*/) {
  for (int64_t j = 0; j < N; ++j) {
    // L_jj = √(A_jj − Σ_k<j L_jk²)
    Wide<T> pivot = a[j * N + j];
    for (int64_t k = 0; k < j; ++k) pivot -= Wide<T>(a[j * N + k]) * Wide<T>(a[j * N + k]);
    if (!(pivot > 0 && pivot < std::numeric_limits<double>::infinity())) return j;
    a[j * N + j] = T(std::sqrt(pivot));

    // L_ij = (A_ij − Σ_k<j L_ik L_jk) / L_jj
    for (int64_t i = j + 1; i < N; ++i) {
      Wide<T> sum = a[i * N + j];
      for (int64_t k = 0; k < j; ++k) sum -= Wide<T>(a[i * N + k]) * Wide<T>(a[j * N + k]);
      a[i * N + j] = T(sum / Wide<T>(a[j * N + j]));
    }
    for (int64_t i = 0; i < j; ++i) a[i * N + j] = 0;
  }
  return -1;
}

template <class T>
void cholesky_solve(T* x, const T* l, int64_t N, int64_t M) {
  // L z = b, then Lᵀ x = z
  triangular_solve(x, l, N, M, Triangle::Lower, false);
  triangular_solve(x, l, N, M, Triangle::Lower, true);
}

// Copies the lower triangle onto the upper one.
template <class T>
void mirror_lower(T* a, int64_t N) {
  for (int64_t i = 0; i < N; ++i) {
    for (int64_t j = 0; j < i; ++j) a[j * N + i] = a[i * N + j];
  }
}

template <class T>
void cholesky_inverse(T* inverse, const T* l, int64_t N) {
  // A⁻¹ = L⁻ᵀ L⁻¹
  triangular_inverse(inverse, l, N, Triangle::Lower);
  triangular_solve(inverse, l, N, N, Triangle::Lower, true);
  mirror_lower(inverse, N);
}

template <class T>
int64_t inverse_cholesky_upper(T* u, T* a, int64_t N, double* workspace) {
  // Reversing both indices of a row-major matrix is reversing the whole array: (i, j) lies at i N + j.
  mirror_lower(a, N);
  std::reverse(a, a + N * N);
  const int64_t failed = cholesky(a, N, workspace);
  if (failed >= 0) return N - 1 - failed;
  triangular_inverse(u, a, N, Triangle::Lower);
  std::reverse(u, u + N * N);
  return -1;
}

}  // namespace chalk::plain
