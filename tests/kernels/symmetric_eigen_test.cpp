// Symmetric eigenproblem: plain against Eigen, hard spectra, the sign rule; cpu against plain to the bit.

#include "kernels/symmetric_eigen.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <vector>

#include "tests/complex_step.h"
#include "tests/eigen.h"

namespace chalk {
using namespace chalk::test;
namespace {

struct Pairs {
  std::vector<double> values, vectors;
};

Pairs eigen(const std::vector<double>& a, int64_t N) {
  Pairs pairs{std::vector<double>(N), std::vector<double>(N * N)};
  std::vector<double> workspace(symmetric_eigen_workspace(N) / int64_t(sizeof(double)));
  EXPECT_TRUE(
      plain::symmetric_eigen(pairs.values.data(), pairs.vectors.data(), a.data(), N, workspace.data()));
  return pairs;
}

std::vector<double> symmetric(const Matrix& A) {
  const Matrix S = 0.5 * (A + A.transpose());
  return std::vector<double>(S.data(), S.data() + S.size());
}

std::vector<double> random_symmetric(int64_t N) {
  const std::vector<double> x = normals(N * N, 3);
  return symmetric(Map(x.data(), N, N));
}

// Q diag(values) Qᵀ with a random orthogonal Q.
std::vector<double> with_spectrum(const std::vector<double>& values) {
  const int64_t N = int64_t(values.size());
  const std::vector<double> x = normals(N * N, 4);
  const Matrix Q = Eigen::HouseholderQR<Matrix>(Map(x.data(), N, N)).householderQ();
  return symmetric(Q * Eigen::Map<const Eigen::VectorXd>(values.data(), N).asDiagonal() * Q.transpose());
}

// Tridiagonal QL is backward stable: residual, orthogonality and eigenvalues are right to c N ε |A|, with c a
// small number; 4 here.
void expect_eigenpairs(const std::vector<double>& a, int64_t N) {
  const Pairs pairs = eigen(a, N);
  const Matrix A = Map(a.data(), N, N), V = Map(pairs.vectors.data(), N, N);
  const Eigen::VectorXd values = Eigen::Map<const Eigen::VectorXd>(pairs.values.data(), N);
  const double norm = std::max(A.norm(), 1e-300), tolerance = 4 * double(N) * 0x1p-52;
  EXPECT_LE((A * V.transpose() - V.transpose() * values.asDiagonal()).cwiseAbs().maxCoeff(),
            tolerance * norm);
  EXPECT_LE((V * V.transpose() - Matrix::Identity(N, N)).cwiseAbs().maxCoeff(), tolerance);
  const Eigen::VectorXd want = Eigen::SelfAdjointEigenSolver<Matrix>(A).eigenvalues().reverse();
  EXPECT_LE((values - want).cwiseAbs().maxCoeff(), tolerance * norm);
  for (int64_t n = 0; n < N; ++n) {
    EXPECT_GE(pairs.values[std::max<int64_t>(n - 1, 0)], pairs.values[n]);
    int64_t peak;
    V.row(n).cwiseAbs().maxCoeff(&peak);
    EXPECT_GT(V(n, peak), 0);
  }
}

TEST(SymmetricEigen, RandomMatrices) {
  for (int64_t N : {1, 2, 3, 4, 17, 64, 65, 120}) {
    SCOPED_TRACE(N);
    expect_eigenpairs(random_symmetric(N), N);
  }
}

TEST(SymmetricEigen, HardSpectra) {
  expect_eigenpairs(std::vector<double>(25, 0.0), 5);                               // zero matrix
  expect_eigenpairs({2, 0, 0, 0, 2, 0, 0, 0, 2}, 3);                                // all equal
  expect_eigenpairs({0, 1, 1, 0}, 2);                                               // 1 and −1
  expect_eigenpairs({1, 0, 0, 0, 5, 0, 0, 0, 3}, 3);                                // diagonal, unsorted
  expect_eigenpairs(with_spectrum({1, 1, 1, 0, 0, 0, 0, 0, 0, 0}), 10);             // rank deficient
  expect_eigenpairs(with_spectrum({1e8, 1e4, 1, 1e-4, 1e-8, -1e-8, -1, -1e8}), 8);  // 16 decades
  expect_eigenpairs(with_spectrum({1, 1 + 1e-13, 1 + 2e-13, 2, 2, 2 - 1e-15}), 6);  // clusters
  expect_eigenpairs(with_spectrum(std::vector<double>(30, 1e150)), 30);             // huge
  expect_eigenpairs(with_spectrum({3e-150, 2e-150, 1e-150}), 3);                    // tiny
  std::vector<double> wilkinson(21 * 21, 0.0);  // pairs that agree to 1e-14
  for (int64_t i = 0; i < 21; ++i) {
    wilkinson[i * 22] = std::abs(double(i) - 10);
    if (i > 0) wilkinson[i * 21 + i - 1] = wilkinson[(i - 1) * 21 + i] = 1;
  }
  expect_eigenpairs(wilkinson, 21);
}

TEST(SymmetricEigen, KnownTwoByTwo) {
  // [[2, 1], [1, 2]]: 3 with (1, 1)/√2, 1 with (1, −1)/√2; the tie goes to the first entry.
  const Pairs pairs = eigen({2, 1, 1, 2}, 2);
  const double h = std::sqrt(0.5);
  EXPECT_NEAR(pairs.values[0], 3, 1e-15);
  EXPECT_NEAR(pairs.values[1], 1, 1e-15);
  EXPECT_NEAR(pairs.vectors[0], h, 1e-15);
  EXPECT_NEAR(pairs.vectors[1], h, 1e-15);
  EXPECT_NEAR(std::abs(pairs.vectors[2]), h, 1e-15);
  EXPECT_NEAR(pairs.vectors[2] + pairs.vectors[3], 0, 1e-15);
}

TEST(SymmetricEigen, ReadsTheLowerTriangleOnly) {
  std::vector<double> a = random_symmetric(7);
  const Pairs want = eigen(a, 7);
  for (int i = 0; i < 7; ++i) {
    for (int j = i + 1; j < 7; ++j) a[i * 7 + j] = std::nan("");
  }
  EXPECT_EQ(eigen(a, 7).values, want.values);
}

TEST(SymmetricEigen, NotFiniteIsRefused) {
  std::vector<double> a = {1, 0, std::nan(""), 1}, values(2, 7), vectors(4, 7), workspace(18);
  EXPECT_FALSE(plain::symmetric_eigen(values.data(), vectors.data(), a.data(), 2, workspace.data()));
  EXPECT_EQ(values, (std::vector<double>{7, 7}));
}

TEST(SymmetricEigen, FloatsAreWorkedOnInDouble) {
  const int64_t N = 40;
  const std::vector<double> a = random_symmetric(N);
  const std::vector<float> af = to_float(a);
  const std::vector<double> rounded(af.begin(), af.end());
  std::vector<float> values(N), vectors(N * N);
  std::vector<double> workspace(symmetric_eigen_workspace(N) / 8);
  ASSERT_TRUE(plain::symmetric_eigen(values.data(), vectors.data(), af.data(), N, workspace.data()));
  const Pairs want = eigen(rounded, N);
  EXPECT_EQ(values, to_float(want.values));
  EXPECT_EQ(vectors, to_float(want.vectors));
}

void expect_cpu_equals_plain(int64_t N, std::vector<int> thread_counts) {
  const std::vector<double> a = random_symmetric(N);
  const Pairs want = eigen(a, N);
  for (int threads : thread_counts) {
    omp_set_num_threads(threads);
    std::vector<double> values(N), vectors(N * N), workspace(symmetric_eigen_workspace(N) / 8);
    ASSERT_TRUE(cpu::symmetric_eigen(values.data(), vectors.data(), a.data(), N, workspace.data()));
    EXPECT_EQ(values, want.values);
    EXPECT_EQ(vectors, want.vectors);
  }
}

TEST(SymmetricEigen, CpuEqualsPlainToTheBit) {
  for (int64_t N : {1, 2, 5, 70, 260}) expect_cpu_equals_plain(N, {1, 2});
}

// From 512 on the QL passes are shared out too.
TEST(SymmetricEigen, CpuEqualsPlainToTheBitWhenLargeSlow) {
  expect_cpu_equals_plain(520, {2});
}

}  // namespace
}  // namespace chalk
