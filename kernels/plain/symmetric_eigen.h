#pragma once
// Symmetric eigenproblem with loops. Contract: kernels/symmetric_eigen.h. The steps that cost N² or more per
// call take a range [begin, end), so that the cpu backend can share one out among threads; the rest is used
// by both backends as it is. (`omp simd` lets that build use vectors; it changes no meaning.)

#include <algorithm>

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// The scratch of symmetric_eigen, by name.
struct EigenScratch {
  double*
      a;  // (N, N) both triangles; row k ends up holding the Householder vector of step k, right of column k
  double* vectors;   // (N, N) rows
  double* diagonal;  // (N) of the tridiagonal matrix, later the eigenvalues
  double* off;       // (N) off[k] stands between diagonal[k] and diagonal[k + 1]; the last one is 0
  double* work;      // (N)
  double* cosines;   // (N) of one QL pass
  double* sines;     // (N)
};

inline EigenScratch eigen_scratch(double* workspace, int64_t N) {
  double* rows = workspace + 2 * N * N;
  return {workspace, workspace + N * N, rows, rows + N, rows + 2 * N, rows + 3 * N, rows + 4 * N};
}

inline double dot(const double* x, const double* y, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

// Copies the lower triangle of a onto both triangles of the scratch. False if a number is not finite.
template <class T>
bool load_symmetric(const EigenScratch& s, const T* a, int64_t N) {
  for (int64_t i = 0; i < N; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const double a_ij = double(a[i * N + j]);
      if (!std::isfinite(a_ij)) return false;
      s.a[i * N + j] = s.a[j * N + i] = a_ij;
    }
  }
  return true;
}

// Turns x (count) into the vector v of the reflection H = I − v vᵀ (so |v|² = 2) that maps x to alpha e_1,
// and returns alpha = −sign(x_1) |x|: the sign that makes v_1 a sum, not a difference. A zero x gives v = 0,
// H = I.
inline double householder(double* x, int64_t count) {
  double largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  if (largest == 0) return 0;
  for (int64_t i = 0; i < count; ++i) x[i] /= largest;  // squares of tiny or huge numbers stay in range
  const double norm = std::sqrt(dot(x, x, count));
  const double alpha = x[0] > 0 ? -norm : norm;
  // v = (x − alpha e_1) · √(2 / |x − alpha e_1|²),  |x − alpha e_1|² = 2 alpha (alpha − x_1)
  const double scale = 1 / std::sqrt(alpha * (alpha - x[0]));
  x[0] -= alpha;
  for (int64_t i = 0; i < count; ++i) x[i] *= scale;
  return alpha * largest;
}

// p = A v over rows [begin, end) of the part of A below and right of step k.
inline void multiply_rows(const EigenScratch& s, int64_t k, int64_t N, int64_t begin, int64_t end) {
  const double* v = s.a + k * N;
  for (int64_t i = begin; i < end; ++i) s.work[i] = dot(s.a + i * N + k + 1, v + k + 1, N - k - 1);
}

// A ← H A H = A − v wᵀ − w vᵀ over rows [begin, end); w is in s.work.
inline void update_rows(const EigenScratch& s, int64_t k, int64_t N, int64_t begin, int64_t end) {
  const double *v = s.a + k * N, *w = s.work;
  for (int64_t i = begin; i < end; ++i) {
    double* a_i = s.a + i * N;
#pragma omp simd
    for (int64_t j = k + 1; j < N; ++j) a_i[j] -= v[i] * w[j] + w[i] * v[j];
  }
}

// Rows [begin, end) of W ← W H_k. W is the identity above and left of row k + 1: only the rest is touched.
inline void reflect_rows(const EigenScratch& s, int64_t k, int64_t N, int64_t begin, int64_t end) {
  const double* v = s.a + k * N;
  for (int64_t i = begin; i < end; ++i) {
    double* w_i = s.vectors + i * N;
    const double along = dot(w_i + k + 1, v + k + 1, N - k - 1);
#pragma omp simd
    for (int64_t j = k + 1; j < N; ++j) w_i[j] -= along * v[j];
  }
}

// Applies the rotations of one QL pass, i = last − 1 … first, to rows i and i + 1 of the vectors, columns
// [begin, end).
inline void rotate_columns(const EigenScratch& s, int64_t first, int64_t last, int64_t N, int64_t begin,
                           int64_t end) {
  for (int64_t i = last - 1; i >= first; --i) {
    double *x = s.vectors + i * N, *y = x + N;
    const double c = s.cosines[i], sn = s.sines[i];
#pragma omp simd
    for (int64_t j = begin; j < end; ++j) {
      const double x_j = x[j], y_j = y[j];
      x[j] = c * x_j - sn * y_j;
      y[j] = sn * x_j + c * y_j;
    }
  }
}

// w = p − (pᵀv / 2) v, from p in s.work: with it H A H is A − v wᵀ − w vᵀ.
inline void correct_product(const EigenScratch& s, int64_t k, int64_t N) {
  const double* v = s.a + k * N;
  const double half = 0.5 * dot(s.work + k + 1, v + k + 1, N - k - 1);
  for (int64_t i = k + 1; i < N; ++i) s.work[i] -= half * v[i];
}

// The first m ≥ l whose off-diagonal number is negligible beside its neighbours on the diagonal.
inline int64_t end_of_block(const EigenScratch& s, int64_t l, int64_t N) {
  int64_t m = l;
  while (m < N - 1 && std::abs(s.off[m]) > 0x1p-52 * (std::abs(s.diagonal[m]) + std::abs(s.diagonal[m + 1])))
    ++m;
  return m;
}

// One implicit QL pass over the block l … m. Stores its rotations, and returns the lowest row they reach: l,
// or more when the bulge vanishes on the way and splits the block.
inline int64_t ql_pass(const EigenScratch& s, int64_t l, int64_t m) {
  double *d = s.diagonal, *e = s.off;
  // Wilkinson's shift: the eigenvalue of the leading 2 × 2 block nearer to d_l
  const double slope = (d[l + 1] - d[l]) / (2 * e[l]);
  const double shift = d[l] - e[l] / (slope + std::copysign(std::hypot(slope, 1.0), slope));

  double g = d[m] - shift, cosine = 1, sine = 1, moved = 0;  // moved: what the rotation above took from d_i+1
  for (int64_t i = m - 1; i >= l; --i) {
    const double f = sine * e[i], b = cosine * e[i];
    const double r = std::hypot(f, g);
    e[i + 1] = r;
    if (r == 0) {
      d[i + 1] -= moved;
      e[m] = 0;
      return i + 1;
    }
    sine = f / r, cosine = g / r;
    s.sines[i] = sine, s.cosines[i] = cosine;
    g = d[i + 1] - moved;
    const double t = (d[i] - g) * sine + 2 * cosine * b;
    moved = sine * t;
    d[i + 1] = g + moved;
    g = cosine * t - b;
  }
  d[l] -= moved;
  e[l] = g;
  e[m] = 0;
  return l;
}

// Selection sort of the eigenpairs, largest first, then the sign rule; writes the results.
template <class T>
void store_eigenpairs(T* values, T* vectors, const EigenScratch& s, int64_t N) {
  for (int64_t n = 0; n < N; ++n) {
    const int64_t best = std::max_element(s.diagonal + n, s.diagonal + N) - s.diagonal;
    if (best != n) {
      std::swap(s.diagonal[n], s.diagonal[best]);
      std::swap_ranges(s.vectors + n * N, s.vectors + (n + 1) * N, s.vectors + best * N);
    }
    const double* v = s.vectors + n * N;
    int64_t peak = 0;
    for (int64_t j = 1; j < N; ++j) {
      if (std::abs(v[j]) > std::abs(v[peak])) peak = j;
    }
    const double sign = v[peak] < 0 ? -1 : 1;
    values[n] = T(s.diagonal[n]);
    for (int64_t j = 0; j < N; ++j) vectors[n * N + j] = T(sign * v[j]);
  }
}

// The algorithm. rows(first, f) and columns(f) call f(begin, end) on ranges that make up [first, N) and [0,
// N).
template <class T, class Rows, class Columns>
bool symmetric_eigen_steps(T* values, T* vectors, const T* a, int64_t N, double* workspace, Rows rows,
                           Columns columns) {
  const EigenScratch s = eigen_scratch(workspace, N);
  if (!load_symmetric(s, a, N)) return false;

  // A ← H_k A H_k for each column: tridiagonal in the end
  for (int64_t k = 0; k < N - 2; ++k) {
    s.off[k] = householder(s.a + k * N + k + 1, N - k - 1);
    if (s.off[k] == 0) continue;
    rows(k + 1, [&](int64_t begin, int64_t end) { multiply_rows(s, k, N, begin, end); });
    correct_product(s, k, N);
    rows(k + 1, [&](int64_t begin, int64_t end) { update_rows(s, k, N, begin, end); });
  }
  for (int64_t k = 0; k < N; ++k) s.diagonal[k] = s.a[k * N + k];
  if (N > 1) s.off[N - 2] = s.a[(N - 2) * N + N - 1];
  if (N > 0) s.off[N - 1] = 0;

  // W = H_N−3 … H_0: its rows are the columns of the transformation so far
  for (int64_t i = 0; i < N * N; ++i) s.vectors[i] = i % (N + 1) == 0 ? 1 : 0;
  for (int64_t k = N - 3; k >= 0; --k) {
    if (s.off[k] != 0) rows(k + 1, [&](int64_t begin, int64_t end) { reflect_rows(s, k, N, begin, end); });
  }

  // QL passes until each off-diagonal number is negligible. Two or three per eigenvalue are usual.
  for (int64_t l = 0; l < N; ++l) {
    for (int64_t pass = 0;; ++pass) {
      const int64_t m = end_of_block(s, l, N);
      if (m == l) break;
      if (pass == 60) return false;
      const int64_t first = ql_pass(s, l, m);
      columns([&](int64_t begin, int64_t end) { rotate_columns(s, first, m, N, begin, end); });
    }
  }
  store_eigenpairs(values, vectors, s, N);
  return true;
}

template <class T>
bool symmetric_eigen(T* values, T* vectors, const T* a, int64_t N, double* workspace) {
  auto rows = [N](int64_t first, auto f) { f(first, N); };
  auto columns = [N](auto f) { f(int64_t(0), N); };
  return symmetric_eigen_steps(values, vectors, a, N, workspace, rows, columns);
}

}  // namespace chalk::plain
