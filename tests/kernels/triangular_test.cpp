// Triangular systems: plain against Eigen, cpu against plain to the bit, zero diagonals.

#include "kernels/triangular.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <vector>

#include "tests/complex_step.h"
#include "tests/eigen.h"

namespace chalk {
using namespace chalk::test;
namespace {

// Random, with a diagonal of size 2 to 4 so that the condition number stays small; the other triangle is
// filled with NaN, because it must not be read.
std::vector<double> triangular(int64_t N, Triangle triangle) {
  std::vector<double> t = normals(N * N, 5, 1 / std::sqrt(double(N)));
  for (int64_t i = 0; i < N; ++i) {
    for (int64_t j = 0; j < N; ++j) {
      const bool inside = triangle == Triangle::Lower ? j < i : j > i;
      if (!inside) t[i * N + j] = std::nan("");
    }
    t[i * N + i] = (i % 2 ? -1.0 : 1.0) * (2.0 + double(i % 3));
  }
  return t;
}

Matrix dense(const std::vector<double>& t, int64_t N, Triangle triangle) {
  const Map all(t.data(), N, N);
  if (triangle == Triangle::Lower) return all.triangularView<Eigen::Lower>();
  return all.triangularView<Eigen::Upper>();
}

const int64_t sizes[] = {1, 2, 3, 17, 64, 65, 150};

TEST(Triangular, SolveSatisfiesTheSystem) {
  for (Triangle triangle : {Triangle::Lower, Triangle::Upper}) {
    for (bool transpose : {false, true}) {
      for (int64_t N : sizes) {
        const int64_t M = 1 + N % 5;
        const std::vector<double> t = triangular(N, triangle), b = normals(N * M, 6);
        std::vector<double> x = b;
        ASSERT_EQ(plain::triangular_solve(x.data(), t.data(), N, M, triangle, transpose), -1);
        Matrix A = dense(t, N, triangle);
        if (transpose) A.transposeInPlace();
        const Matrix X = Map(x.data(), N, M), B = Map(b.data(), N, M);
        // Substitution is backward stable: |A x − b| ≤ N ε |A| |x| entry by entry.
        const Matrix bound = double(N + 1) * 0x1p-52 * (A.cwiseAbs() * X.cwiseAbs());
        const Matrix residual = (A * X - B).cwiseAbs();
        EXPECT_TRUE((residual.array() <= bound.array() + 1e-300).all())
            << "N " << N << " transpose " << transpose;
      }
    }
  }
}

TEST(Triangular, InverseTimesMatrixIsTheIdentity) {
  for (Triangle triangle : {Triangle::Lower, Triangle::Upper}) {
    for (int64_t N : sizes) {
      const std::vector<double> t = triangular(N, triangle);
      std::vector<double> x(N * N, 7);
      ASSERT_EQ(plain::triangular_inverse(x.data(), t.data(), N, triangle), -1);
      const Matrix A = dense(t, N, triangle), X = Map(x.data(), N, N);
      EXPECT_LE((A * X - Matrix::Identity(N, N)).cwiseAbs().maxCoeff(), 1e-13);
      for (int64_t i = 0; i < N; ++i) {
        for (int64_t j = 0; j < N; ++j) {
          const bool outside = triangle == Triangle::Lower ? j > i : j < i;
          ASSERT_TRUE(!outside || x[i * N + j] == 0);
        }
      }
    }
  }
}

template <class T>
void expect_cpu_equals_plain(int64_t N, Triangle triangle, bool transpose) {
  const int64_t M = 70;  // more than one strip of columns
  const std::vector<double> t64 = triangular(N, triangle), b64 = normals(N * M, 6);
  const std::vector<T> t(t64.begin(), t64.end()), b(b64.begin(), b64.end());
  std::vector<T> want = b, want_inverse(N * N), inverse(N * N);
  plain::triangular_solve(want.data(), t.data(), N, M, triangle, transpose);
  plain::triangular_inverse(want_inverse.data(), t.data(), N, triangle);
  for (int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    std::vector<T> x = b;
    EXPECT_EQ(cpu::triangular_solve(x.data(), t.data(), N, M, triangle, transpose), -1);
    EXPECT_EQ(x, want);
    EXPECT_EQ(cpu::triangular_inverse(inverse.data(), t.data(), N, triangle), -1);
    EXPECT_EQ(inverse, want_inverse);
  }
}

TEST(Triangular, CpuEqualsPlainToTheBit) {
  for (int64_t N : sizes) {
    for (Triangle triangle : {Triangle::Lower, Triangle::Upper}) {
      for (bool transpose : {false, true}) {
        expect_cpu_equals_plain<float>(N, triangle, transpose);
        expect_cpu_equals_plain<double>(N, triangle, transpose);
      }
    }
  }
}

TEST(Triangular, AZeroOnTheDiagonalIsReportedAndNothingIsWritten) {
  const std::vector<double> t = {1, 0, 0, 5, 0, 0, 1, 1, 0};
  std::vector<double> x = {1, 2, 3};
  const std::vector<double> before = x;
  EXPECT_EQ(plain::triangular_solve(x.data(), t.data(), 3, 1, Triangle::Lower, false), 1);
  EXPECT_EQ(cpu::triangular_solve(x.data(), t.data(), 3, 1, Triangle::Lower, false), 1);
  EXPECT_EQ(x, before);
}

}  // namespace
}  // namespace chalk
