#pragma once
// One-sided Jacobi SVD with loops. Contract: kernels/svd.h. The pairs of one round are disjoint, so the cpu
// backend shares them out among threads; everything else is used by both backends as it is.

#include <algorithm>

#include "kernels/plain/scalar.h"
#include "kernels/symmetric_eigen.h"

namespace chalk::plain {

// The scratch of svd, by name. The shorter side of A has R vectors of length L: its columns if M ≥ N, else
// its rows.
struct SvdScratch {
  double* vectors;    // (R, L) those vectors, rotated until orthogonal: Q · short side of A
  double* rotations;  // (R, R) Q
  double* lengths;    // (R)
  int64_t R, L;
};

inline SvdScratch svd_scratch(double* workspace, int64_t M, int64_t N) {
  const int64_t R = std::min(M, N), L = std::max(M, N);
  return {workspace, workspace + R * L, workspace + R * L + R * R, R, L};
}

// Copies A, transposed if its columns are the short side; Q = I. Returns the root of Σ A², or −1 if A is not
// finite.
template <class T>
double load_short_side(const SvdScratch& s, const T* a, int64_t M, int64_t N) {
  for (int64_t r = 0; r < s.R; ++r) {
    for (int64_t i = 0; i < s.L; ++i) s.vectors[r * s.L + i] = double(M >= N ? a[i * N + r] : a[r * N + i]);
  }
  for (int64_t i = 0; i < s.R * s.R; ++i) s.rotations[i] = i % (s.R + 1) == 0 ? 1 : 0;
  const double norm = std::sqrt(dot(s.vectors, s.vectors, s.R * s.L));
  return std::isfinite(norm) ? norm : -1;
}

// x ← cosine · x − sine · y,  y ← sine · x + cosine · y
inline void rotate(double* x, double* y, double cosine, double sine, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const double x_i = x[i], y_i = y[i];
    x[i] = cosine * x_i - sine * y_i;
    y[i] = sine * x_i + cosine * y_i;
  }
}

// Makes vectors p and q orthogonal; false if they were already, to rounding. A vector shorter than
// `negligible` is noise: no rotation can make it orthogonal to a long one.
inline bool orthogonalise_pair(const SvdScratch& s, int64_t p, int64_t q, double negligible) {
  double *x = s.vectors + p * s.L, *y = s.vectors + q * s.L;
  const double xx = dot(x, x, s.L), yy = dot(y, y, s.L), xy = dot(x, y, s.L);
  const double shorter = std::sqrt(std::min(xx, yy)), longer = std::sqrt(std::max(xx, yy));
  // Rounding leaves |x·y| ≈ ε √L |x| |y| between orthogonal vectors.
  const double tolerance = 0x1p-51 * std::sqrt(double(s.L));
  if (shorter <= negligible || std::abs(xy) <= tolerance * shorter * longer) return false;

  // The rotation with (x', y') orthogonal:  tan = sign(ζ) / (|ζ| + √(1 + ζ²)),  ζ = (y·y − x·x) / (2 x·y)
  const double zeta = (yy - xx) / (2 * xy);
  const double tangent = std::copysign(1 / (std::abs(zeta) + std::hypot(1.0, zeta)), zeta);
  const double cosine = 1 / std::hypot(1.0, tangent), sine = cosine * tangent;
  rotate(x, y, cosine, sine, s.L);
  rotate(s.rotations + p * s.R, s.rotations + q * s.R, cosine, sine, s.R);
  return true;
}

// Round-robin tournament: in round t of players − 1, pair k of players / 2 is (p, q). Every two meet once per
// sweep, nobody plays twice in a round. The last player stays, the others walk round in a circle.
inline void tournament_pair(int64_t players, int64_t round, int64_t k, int64_t& p, int64_t& q) {
  const int64_t circle = players - 1;
  p = k == 0 ? players - 1 : (round + k) % circle;
  q = k == 0 ? round : (round + circle - k) % circle;
  if (p > q) std::swap(p, q);
}

// Sweeps until no pair needs a rotation. for_pairs(count, f) calls f(k) for k < count in any order and
// returns how many of the calls returned true. Convergence is quadratic: 6 to 12 sweeps are usual.
template <class ForPairs>
bool orthogonalise(const SvdScratch& s, double negligible, ForPairs for_pairs) {
  const int64_t players = s.R + s.R % 2;  // an odd number plays against nobody once per round
  for (int sweep = 0; sweep < 60; ++sweep) {
    int64_t rotated = 0;
    for (int64_t round = 0; round < players - 1; ++round) {
      rotated += for_pairs(players / 2, [&](int64_t k) {
        int64_t p, q;
        tournament_pair(players, round, k, p, q);
        return q < s.R && orthogonalise_pair(s, p, q, negligible);
      });
    }
    if (rotated == 0) return true;
  }
  return false;
}

// Replaces vector r by a unit vector orthogonal to the unit vectors 0 … r − 1: the axis they cover least,
// made orthogonal twice, because the first subtraction may leave rounding errors behind.
inline void complete_basis(const SvdScratch& s, int64_t r) {
  int64_t axis = 0;
  double least = 2;
  for (int64_t i = 0; i < s.L; ++i) {
    double covered = 0;
    for (int64_t k = 0; k < r; ++k) covered += s.vectors[k * s.L + i] * s.vectors[k * s.L + i];
    if (covered < least) least = covered, axis = i;
  }
  double* x = s.vectors + r * s.L;
  for (int64_t i = 0; i < s.L; ++i) x[i] = i == axis ? 1 : 0;
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t k = 0; k < r; ++k) {
      const double along = dot(x, s.vectors + k * s.L, s.L);
      for (int64_t i = 0; i < s.L; ++i) x[i] -= along * s.vectors[k * s.L + i];
    }
  }
  const double length = std::sqrt(dot(x, x, s.L));
  for (int64_t i = 0; i < s.L; ++i) x[i] /= length;
}

// Sorts the vectors by length, longest first, and divides each by its length; negligible ones are replaced.
inline void sort_and_normalise(const SvdScratch& s) {
  for (int64_t r = 0; r < s.R; ++r) {
    s.lengths[r] = std::sqrt(dot(s.vectors + r * s.L, s.vectors + r * s.L, s.L));
  }
  for (int64_t r = 0; r < s.R; ++r) {
    const int64_t best = std::max_element(s.lengths + r, s.lengths + s.R) - s.lengths;
    if (best != r) {
      std::swap(s.lengths[r], s.lengths[best]);
      std::swap_ranges(s.vectors + r * s.L, s.vectors + (r + 1) * s.L, s.vectors + best * s.L);
      std::swap_ranges(s.rotations + r * s.R, s.rotations + (r + 1) * s.R, s.rotations + best * s.R);
    }
    if (s.lengths[r] <= 0x1p-52 * double(s.L) * s.lengths[0]) {
      complete_basis(s, r);
    } else {
      for (int64_t i = 0; i < s.L; ++i) s.vectors[r * s.L + i] /= s.lengths[r];
    }
  }
}

// A = (short side)ᵀ = vectorsᵀ diag(lengths) Q for M ≥ N, and Qᵀ diag(lengths) vectors otherwise. Then the
// sign rule.
template <class T>
void store_svd(T* u, T* singular, T* vt, const SvdScratch& s, int64_t M, int64_t N) {
  const double* left = M >= N ? s.vectors : s.rotations;   // (R, M)
  const double* right = M >= N ? s.rotations : s.vectors;  // (R, N)
  for (int64_t r = 0; r < s.R; ++r) {
    const double* v = right + r * N;
    int64_t peak = 0;
    for (int64_t j = 1; j < N; ++j) {
      if (std::abs(v[j]) > std::abs(v[peak])) peak = j;
    }
    const double sign = v[peak] < 0 ? -1 : 1;
    singular[r] = T(s.lengths[r]);
    for (int64_t j = 0; j < N; ++j) vt[r * N + j] = T(sign * v[j]);
    for (int64_t i = 0; i < M; ++i) u[i * s.R + r] = T(sign * left[r * M + i]);
  }
}

template <class T, class ForPairs>
bool svd_steps(T* u, T* singular, T* vt, const T* a, int64_t M, int64_t N, double* workspace,
               ForPairs for_pairs) {
  const SvdScratch s = svd_scratch(workspace, M, N);
  if (s.R == 0) return true;
  const double norm = load_short_side(s, a, M, N);
  if (norm < 0 || !orthogonalise(s, 0x1p-52 * norm, for_pairs)) return false;
  sort_and_normalise(s);
  store_svd(u, singular, vt, s, M, N);
  return true;
}

template <class T>
bool svd(T* u, T* s, T* vt, const T* a, int64_t M, int64_t N, double* workspace) {
  auto for_pairs = [](int64_t count, auto f) {
    int64_t rotated = 0;
    for (int64_t k = 0; k < count; ++k) rotated += f(k);
    return rotated;
  };
  return svd_steps(u, s, vt, a, M, N, workspace, for_pairs);
}

}  // namespace chalk::plain
