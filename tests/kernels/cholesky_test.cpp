// Cholesky: plain against Eigen, well and badly conditioned; the failing pivot; cpu against plain to the bit.

#include "kernels/cholesky.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <vector>

#include "tests/complex_step.h"
#include "tests/eigen.h"

namespace chalk {
using namespace chalk::test;
namespace {

// X Xᵀ / N + damping: what a Hessian of a layer's inputs looks like.
std::vector<double> positive_definite(int64_t N, double damping = 0.1) {
  const std::vector<double> x = normals(N * N, 3);
  const Matrix X = Map(x.data(), N, N);
  const Matrix A = X * X.transpose() / double(N) + damping * Matrix::Identity(N, N);
  return std::vector<double>(A.data(), A.data() + N * N);
}

// 1 / (i + j + 1): condition number 1.6e13 at N = 10.
std::vector<double> hilbert(int64_t N) {
  std::vector<double> a(N * N);
  for (int64_t i = 0; i < N * N; ++i) a[i] = 1.0 / double(i / N + i % N + 1);
  return a;
}

const int64_t sizes[] = {1, 2, 3, 17, 63, 64, 65, 130, 200};

TEST(Cholesky, FactorReproducesTheMatrix) {
  std::vector<std::vector<double>> matrices = {hilbert(10)};
  for (int64_t N : sizes) matrices.push_back(positive_definite(N));
  for (const std::vector<double>& a : matrices) {
    const int64_t N = int64_t(std::llround(std::sqrt(double(a.size()))));
    std::vector<double> l = a;
    for (int64_t i = 0; i < N; ++i) {
      for (int64_t j = i + 1; j < N; ++j) l[i * N + j] = std::nan("");  // the upper triangle must not be read
    }
    ASSERT_EQ(plain::cholesky(l.data(), N, nullptr), -1);
    const Matrix L = Map(l.data(), N, N), A = Map(a.data(), N, N);
    EXPECT_TRUE(L.isLowerTriangular(0));
    // Backward stable whatever the conditioning: |L Lᵀ − A| ≤ (N + 1) ε |L| |L|ᵀ entry by entry.
    const Matrix bound = double(N + 2) * 0x1p-52 * (L.cwiseAbs() * L.cwiseAbs().transpose());
    EXPECT_TRUE(((L * L.transpose() - A).cwiseAbs().array() <= bound.array()).all()) << "N " << N;
    const Matrix want = A.llt().matrixL();
    const double condition = N == 10 ? 1.6e13 : 1e4;
    EXPECT_LE((L - want).cwiseAbs().maxCoeff(), condition * 0x1p-52 * want.cwiseAbs().maxCoeff() * double(N));
  }
}

TEST(Cholesky, SolveAndInverseAgreeWithEigen) {
  for (int64_t N : sizes) {
    const int64_t M = 3;
    const std::vector<double> a = positive_definite(N), b = normals(N * M, 4);
    std::vector<double> l = a, x = b, inverse(N * N);
    ASSERT_EQ(plain::cholesky(l.data(), N, nullptr), -1);
    plain::cholesky_solve(x.data(), l.data(), N, M);
    plain::cholesky_inverse(inverse.data(), l.data(), N);
    const Matrix A = Map(a.data(), N, N), X = Map(x.data(), N, M), B = Map(b.data(), N, M);
    const Matrix A_inverse = Map(inverse.data(), N, N);
    // Eigenvalues lie in [0.1, 4.1]: condition 41, solutions of size up to 10 |b|.
    const double tolerance = 41 * 10 * double(N) * 0x1p-52 * 8;
    EXPECT_LE((A * X - B).cwiseAbs().maxCoeff(), tolerance);
    EXPECT_LE((X - A.llt().solve(B)).cwiseAbs().maxCoeff(), tolerance);
    EXPECT_LE((A * A_inverse - Matrix::Identity(N, N)).cwiseAbs().maxCoeff(), tolerance);
    EXPECT_EQ(A_inverse, Matrix(A_inverse.transpose()));
  }
}

TEST(Cholesky, UpperFactorOfTheInverse) {
  for (int64_t N : sizes) {
    const std::vector<double> a = positive_definite(N);
    std::vector<double> destroyed = a, u(N * N);
    ASSERT_EQ(plain::inverse_cholesky_upper(u.data(), destroyed.data(), N, nullptr), -1);
    const Matrix A = Map(a.data(), N, N), U = Map(u.data(), N, N);
    EXPECT_TRUE(U.isUpperTriangular(0));
    // The factor with a positive diagonal is unique, so it is the transpose of Eigen's lower factor of A⁻¹.
    const Matrix inverse = A.inverse();
    const Matrix want = inverse.llt().matrixU();
    const double tolerance = 41 * 10 * double(N) * 0x1p-52 * 8;
    EXPECT_LE((U.transpose() * U - inverse).cwiseAbs().maxCoeff(), tolerance);
    EXPECT_LE((U - want).cwiseAbs().maxCoeff(), tolerance);
  }
}

// A float matrix with condition 1e6 factors as well as its own rounding allows, because the sums are in
// double.
TEST(Cholesky, FloatsAccumulateInDouble) {
  const int64_t N = 100;
  const std::vector<double> a = positive_definite(N, 1e-6);
  std::vector<float> l = to_float(a);
  ASSERT_EQ(plain::cholesky(l.data(), N, nullptr), -1);
  double worst = 0;
  for (int64_t i = 0; i < N; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k <= j; ++k) sum += double(l[i * N + k]) * double(l[j * N + k]);
      worst = std::max(worst, std::abs(sum - a[i * N + j]));
    }
  }
  // One rounding of A and one of each L entry, not N of them: entries are at most 2.
  EXPECT_LE(worst, 2 * 4 * 0x1p-24);
}

template <class F>
void expect_failing_pivot(const std::vector<double>& a, int64_t N, int64_t want, F factor) {
  std::vector<double> l = a;
  EXPECT_EQ(factor(l.data(), N), want);
  for (int64_t i = 0; i < N; ++i) {
    for (int64_t j = 0; j < want && j <= i; ++j) EXPECT_TRUE(std::isfinite(l[i * N + j]));
  }
}

TEST(Cholesky, ReportsTheFailingPivot) {
  std::vector<double> workspace(200 * cholesky_block);
  auto run_plain = [](double* a, int64_t N) { return plain::cholesky(a, N, nullptr); };
  auto run_cpu = [&](double* a, int64_t N) { return cpu::cholesky(a, N, workspace.data()); };
  auto both = [&](const std::vector<double>& a, int64_t N, int64_t want) {
    expect_failing_pivot(a, N, want, run_plain);
    std::vector<double> l = a;
    EXPECT_EQ(run_cpu(l.data(), N), want);
  };
  both({-1}, 1, 0);
  both({0}, 1, 0);
  both({std::nan("")}, 1, 0);
  both({1, 2, 2, 1}, 2, 1);
  both({4, 0, 0, 0, 4, 0, 0, 0, 0}, 3, 2);  // rank deficient
  both({std::numeric_limits<double>::infinity(), 0, 0, 1}, 2, 0);
  std::vector<double> a = positive_definite(200);
  a[150 * 200 + 150] = -1;
  both(a, 200, 150);
}

TEST(Cholesky, InverseFactorReportsThePivotOfTheOriginalMatrix) {
  std::vector<double> a = {1, 0, 0, 0, -1, 0, 0, 0, 1}, u(9), workspace(3 * cholesky_block), copy = a;
  EXPECT_EQ(plain::inverse_cholesky_upper(u.data(), a.data(), 3, nullptr), 1);
  EXPECT_EQ(cpu::inverse_cholesky_upper(u.data(), copy.data(), 3, workspace.data()), 1);
}

template <class T>
void expect_cpu_equals_plain(int64_t N) {
  const std::vector<double> a64 = positive_definite(N), b64 = normals(N * 5, 4);
  const std::vector<T> a(a64.begin(), a64.end()), b(b64.begin(), b64.end());
  std::vector<T> want_l = a, want_x = b, want_inverse(N * N), want_u(N * N), scratch = a;
  ASSERT_EQ(plain::cholesky(want_l.data(), N, nullptr), -1);
  plain::cholesky_solve(want_x.data(), want_l.data(), N, 5);
  plain::cholesky_inverse(want_inverse.data(), want_l.data(), N);
  plain::inverse_cholesky_upper(want_u.data(), scratch.data(), N, nullptr);
  for (int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    std::vector<double> workspace(cholesky_workspace(N) / int64_t(sizeof(double)));
    std::vector<T> l = a, x = b, inverse(N * N), u(N * N);
    scratch = a;
    EXPECT_EQ(cpu::cholesky(l.data(), N, workspace.data()), -1);
    cpu::cholesky_solve(x.data(), l.data(), N, 5);
    cpu::cholesky_inverse(inverse.data(), l.data(), N);
    EXPECT_EQ(cpu::inverse_cholesky_upper(u.data(), scratch.data(), N, workspace.data()), -1);
    EXPECT_EQ(l, want_l);
    EXPECT_EQ(x, want_x);
    EXPECT_EQ(inverse, want_inverse);
    EXPECT_EQ(u, want_u);
  }
}

TEST(Cholesky, CpuEqualsPlainToTheBit) {
  for (int64_t N : sizes) {
    expect_cpu_equals_plain<float>(N);
    expect_cpu_equals_plain<double>(N);
  }
}

}  // namespace
}  // namespace chalk
