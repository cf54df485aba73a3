// Cholesky factorisation in blocks of columns. Contract: kernels/cholesky.h. For a block of 64 columns the
// finished rows of L that it needs are transposed into `panel` once, in double: then the update of a row is a
// loop over the block's columns (SIMD), and the rows below the block are independent (threads). Each number
// sees the same operations in the same order as in the plain kernel: the results are the same to the bit.

#include "kernels/cholesky.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"

namespace chalk::cpu {

constexpr int64_t block = cholesky_block;

// sum_c = A_ic − Σ_k<J L_ik L_ck for the columns J + c of the block.  panel[k · block + c] = L_(J+c),k
template <class T>
static void subtract_finished_columns(double* sum, const T* a_i, const double* panel, int64_t J,
                                      int64_t width) {
  for (int64_t c = 0; c < width; ++c) sum[c] = double(a_i[J + c]);
  for (int64_t k = 0; k < J; ++k) {
    const double l_ik = double(a_i[k]);
    const double* panel_k = panel + k * block;
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) sum[c] -= l_ik * panel_k[c];
  }
}

// Rows J … J + width of the block itself, one after another; they complete the panel. Returns −1 or the
// failing pivot.
template <class T>
static int64_t factor_diagonal_block(T* a, double* panel, int64_t N, int64_t J, int64_t width) {
  double sum[block];
  for (int64_t r = 0; r < width; ++r) {
    T* a_i = a + (J + r) * N;
    subtract_finished_columns(sum, a_i, panel, J, r + 1);
    for (int64_t j = 0; j < r; ++j) {
      double* panel_j = panel + (J + j) * block;
      const T l_ij = T(sum[j] / panel_j[j]);
      a_i[J + j] = l_ij;
      panel_j[r] = double(l_ij);
      for (int64_t c = j + 1; c <= r; ++c) sum[c] -= double(l_ij) * panel_j[c];
    }
    if (!(sum[r] > 0 && sum[r] < std::numeric_limits<double>::infinity())) return J + r;
    a_i[J + r] = T(std::sqrt(sum[r]));
    panel[(J + r) * block + r] = double(a_i[J + r]);
  }
  return -1;
}

// A row below the block.
template <class T>
static void factor_row(T* a_i, const double* panel, int64_t J, int64_t width) {
  double sum[block];
  subtract_finished_columns(sum, a_i, panel, J, width);
  for (int64_t j = 0; j < width; ++j) {
    const double* panel_j = panel + (J + j) * block;
    // L_ij = (A_ij − Σ_k<j L_ik L_jk) / L_jj, then the share of column j in the columns to its right
    const T l_ij = T(sum[j] / panel_j[j]);
    a_i[J + j] = l_ij;
    for (int64_t c = j + 1; c < width; ++c) sum[c] -= double(l_ij) * panel_j[c];
  }
}

template <class T>
static int64_t factor(T* a, int64_t N, double* panel) {
  for (int64_t J = 0; J < N; J += block) {
    const int64_t width = std::min(block, N - J);
    for (int64_t c = 0; c < width; ++c) {
      const T* l_c = a + (J + c) * N;
      for (int64_t k = 0; k < J; ++k) panel[k * block + c] = double(l_c[k]);
    }
    const int64_t failed = factor_diagonal_block(a, panel, N, J, width);
    if (failed >= 0) return failed;
    const int64_t below = J + width;
    parallel_for(N - below, grain_rows(memory_grain, below), [&](int64_t begin, int64_t end) {
      for (int64_t i = below + begin; i < below + end; ++i) factor_row(a + i * N, panel, J, width);
    });
  }
  for (int64_t i = 0; i < N; ++i) std::fill(a + i * N + i + 1, a + (i + 1) * N, T(0));
  return -1;
}

template <class T>
static void solve(T* x, const T* l, int64_t N, int64_t M) {
  triangular_solve(x, l, N, M, Triangle::Lower, false);
  triangular_solve(x, l, N, M, Triangle::Lower, true);
}

template <class T>
static void invert(T* inverse, const T* l, int64_t N) {
  triangular_inverse(inverse, l, N, Triangle::Lower);
  triangular_solve(inverse, l, N, N, Triangle::Lower, true);
  plain::mirror_lower(inverse, N);
}

template <class T>
static int64_t inverse_upper(T* u, T* a, int64_t N, double* workspace) {
  plain::mirror_lower(a, N);
  std::reverse(a, a + N * N);
  const int64_t failed = factor(a, N, workspace);
  if (failed >= 0) return N - 1 - failed;
  triangular_inverse(u, a, N, Triangle::Lower);
  std::reverse(u, u + N * N);
  return -1;
}

int64_t cholesky(float* a, int64_t N, double* workspace) {
  return factor(a, N, workspace);
}
int64_t cholesky(double* a, int64_t N, double* workspace) {
  return factor(a, N, workspace);
}
void cholesky_solve(float* x, const float* l, int64_t N, int64_t M) {
  solve(x, l, N, M);
}
void cholesky_solve(double* x, const double* l, int64_t N, int64_t M) {
  solve(x, l, N, M);
}
void cholesky_inverse(float* inverse, const float* l, int64_t N) {
  invert(inverse, l, N);
}
void cholesky_inverse(double* inverse, const double* l, int64_t N) {
  invert(inverse, l, N);
}
int64_t inverse_cholesky_upper(float* u, float* a, int64_t N, double* workspace) {
  return inverse_upper(u, a, N, workspace);
}
int64_t inverse_cholesky_upper(double* u, double* a, int64_t N, double* workspace) {
  return inverse_upper(u, a, N, workspace);
}

}  // namespace chalk::cpu
