// Triangular systems in strips of columns. Contract: kernels/triangular.h. The strips are independent and go
// to the threads; inside one, the loop over its columns is the SIMD loop. Each number sees the same
// operations in the same order as in the plain kernel, so the results are the same to the bit.

#include "kernels/triangular.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace chalk::cpu {

constexpr int64_t strip = 64;  // columns; their sums fill eight cache lines

// Solves columns [c0, c1) of x (N, M). Rows before `first` (after it, when walking up) are 0 in all of them.
template <class T>
static void solve_strip(T* x, const T* t, int64_t N, int64_t M, int64_t c0, int64_t c1, bool down,
                        bool transpose, int64_t first) {
  double sum[strip];
  const int64_t width = c1 - c0;
  const int64_t rows = down ? N - first : first + 1;
  for (int64_t step = 0; step < rows; ++step) {
    const int64_t i = down ? first + step : first - step;
    const int64_t begin = down ? first : i + 1, end = down ? i : first + 1;
    T* x_i = x + i * M + c0;
    for (int64_t c = 0; c < width; ++c) sum[c] = double(x_i[c]);
    for (int64_t k = begin; k < end; ++k) {
      // Σ_k op(t)_ik x_k
      const double t_ik = double(transpose ? t[k * N + i] : t[i * N + k]);
      const T* x_k = x + k * M + c0;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) sum[c] -= t_ik * double(x_k[c]);
    }
    const double t_ii = double(t[i * N + i]);
    for (int64_t c = 0; c < width; ++c) x_i[c] = T(sum[c] / t_ii);
  }
}

template <class T>
static int64_t solve(T* x, const T* t, int64_t N, int64_t M, Triangle triangle, bool transpose) {
  const int64_t bad = plain::bad_diagonal(t, N);
  if (bad >= 0) return bad;
  const bool down = (triangle == Triangle::Lower) != transpose;
  parallel_for(M, strip, [&](int64_t c0, int64_t c1) {
    solve_strip(x, t, N, M, c0, c1, down, transpose, down ? 0 : N - 1);
  });
  return -1;
}

template <class T>
static int64_t inverse(T* x, const T* t, int64_t N, Triangle triangle) {
  const int64_t bad = plain::bad_diagonal(t, N);
  if (bad >= 0) return bad;
  std::fill(x, x + N * N, T(0));
  for (int64_t i = 0; i < N; ++i) x[i * N + i] = 1;
  const bool down = triangle == Triangle::Lower;
  parallel_for(N, strip, [&](int64_t c0, int64_t c1) {
    solve_strip(x, t, N, N, c0, c1, down, false, down ? c0 : c1 - 1);
  });
  return -1;
}

int64_t triangular_solve(float* x, const float* t, int64_t N, int64_t M, Triangle triangle, bool transpose) {
  return solve(x, t, N, M, triangle, transpose);
}
int64_t triangular_solve(double* x, const double* t, int64_t N, int64_t M, Triangle triangle,
                         bool transpose) {
  return solve(x, t, N, M, triangle, transpose);
}
int64_t triangular_inverse(float* x, const float* t, int64_t N, Triangle triangle) {
  return inverse(x, t, N, triangle);
}
int64_t triangular_inverse(double* x, const double* t, int64_t N, Triangle triangle) {
  return inverse(x, t, N, triangle);
}

}  // namespace chalk::cpu
