#pragma once
// Triangular systems with loops. Contract: kernels/triangular.h.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// The first diagonal entry of t that cannot be divided by, or −1.
template <class T>
int64_t bad_diagonal(const T* t, int64_t N) {
  for (int64_t i = 0; i < N; ++i) {
    if (!(std::abs(t[i * N + i]) > 0)) return i;
  }
  return -1;
}

// Solves for one column of x whose numbers lie M apart. Rows before `first` of a downward walk (after it, of
// an upward one) are known to be 0 and are skipped.
template <class T>
void solve_column(T* x, const T* t, int64_t N, int64_t M, Triangle triangle, bool transpose, int64_t first) {
  // A lower triangle is solved from the top down; so is the transpose of an upper one.
  const bool down = (triangle == Triangle::Lower) != transpose;
  for (int64_t step = 0; step < N; ++step) {
    const int64_t i = down ? step : N - 1 - step;
    if (down ? i < first : i > first) continue;
    const int64_t begin = down ? first : i + 1, end = down ? i : first + 1;
    // x_i = (b_i − Σ_k op(t)_ik x_k) / op(t)_ii
    Wide<T> sum = x[i * M];
    for (int64_t k = begin; k < end; ++k) {
      sum -= Wide<T>(transpose ? t[k * N + i] : t[i * N + k]) * Wide<T>(x[k * M]);
    }
    x[i * M] = T(sum / Wide<T>(t[i * N + i]));
  }
}

template <class T>
int64_t triangular_solve(T* x, const T* t, int64_t N, int64_t M, Triangle triangle, bool transpose) {
  const int64_t bad = bad_diagonal(t, N);
  if (bad >= 0) return bad;
  const bool down = (triangle == Triangle::Lower) != transpose;
  for (int64_t m = 0; m < M; ++m) solve_column(x + m, t, N, M, triangle, transpose, down ? 0 : N - 1);
  return -1;
}

template <class T>
int64_t triangular_inverse(T* x, const T* t, int64_t N, Triangle triangle) {
  const int64_t bad = bad_diagonal(t, N);
  if (bad >= 0) return bad;
  for (int64_t i = 0; i < N * N; ++i) x[i] = 0;
  // Column j of the inverse solves t · x = e_j, whose rows on the far side of j stay 0.
  for (int64_t j = 0; j < N; ++j) {
    x[j * N + j] = 1;
    solve_column(x + j, t, N, N, triangle, false, j);
  }
  return -1;
}

}  // namespace chalk::plain
