// Singular value decomposition: plain against Eigen, rank-deficient and badly scaled matrices; cpu against
// plain to the bit.

#include "kernels/svd.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <set>
#include <vector>

#include "tests/complex_step.h"
#include "tests/eigen.h"

namespace chalk {
using namespace chalk::test;
namespace {

struct Factors {
  std::vector<double> u, s, vt;
};

Factors svd(const std::vector<double>& a, int64_t M, int64_t N) {
  const int64_t R = std::min(M, N);
  Factors f{std::vector<double>(M * R), std::vector<double>(R), std::vector<double>(R * N)};
  std::vector<double> workspace(svd_workspace(M, N) / int64_t(sizeof(double)));
  EXPECT_TRUE(plain::svd(f.u.data(), f.s.data(), f.vt.data(), a.data(), M, N, workspace.data()));
  return f;
}

std::vector<double> numbers(const Matrix& A) {
  return std::vector<double>(A.data(), A.data() + A.size());
}

// (M, N) with the given singular values and random singular vectors.
std::vector<double> with_singular_values(int64_t M, int64_t N, const std::vector<double>& s) {
  const int64_t R = int64_t(s.size());
  const std::vector<double> x = normals(M * M, 4), y = normals(N * N, 5);
  const Matrix U = Eigen::HouseholderQR<Matrix>(Map(x.data(), M, M)).householderQ();
  const Matrix V = Eigen::HouseholderQR<Matrix>(Map(y.data(), N, N)).householderQ();
  const Eigen::VectorXd values = Eigen::Map<const Eigen::VectorXd>(s.data(), R);
  return numbers(U.leftCols(R) * values.asDiagonal() * V.leftCols(R).transpose());
}

// Each rotation rounds a vector by a few ε; a vector takes part in R rotations in each of about ten sweeps,
// and the errors are random: 10 √(10 L) ε, taken generously as 40 √L ε, L the longer side.
void expect_factors(const std::vector<double>& a, int64_t M, int64_t N) {
  SCOPED_TRACE(testing::Message() << M << " x " << N);
  const int64_t R = std::min(M, N);
  const Factors f = svd(a, M, N);
  const Matrix A = Map(a.data(), M, N), U = Map(f.u.data(), M, R), Vt = Map(f.vt.data(), R, N);
  const Eigen::VectorXd s = Eigen::Map<const Eigen::VectorXd>(f.s.data(), R);
  const double tolerance = 40 * std::sqrt(double(std::max(M, N))) * 0x1p-52,
               norm = std::max(A.norm(), 1e-300);
  EXPECT_LE((U * s.asDiagonal() * Vt - A).cwiseAbs().maxCoeff(), tolerance * norm);
  EXPECT_LE((U.transpose() * U - Matrix::Identity(R, R)).cwiseAbs().maxCoeff(), tolerance);
  EXPECT_LE((Vt * Vt.transpose() - Matrix::Identity(R, R)).cwiseAbs().maxCoeff(), tolerance);
  const Eigen::VectorXd want = Eigen::JacobiSVD<Eigen::MatrixXd>(A).singularValues();
  EXPECT_LE((s - want).cwiseAbs().maxCoeff(), tolerance * norm);
  for (int64_t r = 0; r < R; ++r) {
    EXPECT_GE(f.s[r], 0);
    EXPECT_GE(f.s[std::max<int64_t>(r - 1, 0)], f.s[r]);
    int64_t peak;
    Vt.row(r).cwiseAbs().maxCoeff(&peak);
    EXPECT_GT(Vt(r, peak), 0);
  }
}

TEST(SVD, RandomMatricesOfEveryShape) {
  const int64_t shapes[][2] = {{1, 1}, {1, 5}, {5, 1},   {2, 2},   {3, 3},
                               {7, 4}, {4, 7}, {40, 40}, {65, 30}, {30, 65}};
  for (const int64_t* s : shapes) expect_factors(normals(s[0] * s[1], 3), s[0], s[1]);
}

TEST(SVD, HardSpectra) {
  expect_factors(std::vector<double>(12, 0.0), 4, 3);               // zero matrix
  expect_factors(std::vector<double>(12, 1.0), 3, 4);               // rank 1
  expect_factors({1, 0, 0, 0, 1, 0, 0, 0, 1}, 3, 3);                // all equal
  expect_factors({0, 0, 0, 0, 5, 0, 0, 0, 3}, 3, 3);                // a zero row and column
  expect_factors(with_singular_values(20, 12, {3, 2, 1}), 20, 12);  // rank 3 of 12
  expect_factors(with_singular_values(12, 20, {3, 2, 1}), 12, 20);
  expect_factors(with_singular_values(9, 9, {1, 1e-4, 1e-8, 1e-12, 1e-16}), 9,
                 9);                                                             // below rounding at the end
  expect_factors(with_singular_values(8, 6, {2, 2, 2, 1, 1, 1 + 1e-14}), 8, 6);  // clusters
  expect_factors(with_singular_values(6, 6, std::vector<double>(6, 1e100)), 6, 6);  // huge
}

// Jacobi keeps the relative accuracy of columns of very different size; a bidiagonalisation would lose the
// small ones.
TEST(SVD, ScaledColumnsKeepRelativeAccuracy) {
  const int64_t N = 6;
  const std::vector<double> x = normals(N * N, 8);
  const Matrix Q = Eigen::HouseholderQR<Matrix>(Map(x.data(), N, N)).householderQ();
  Matrix A = Q;
  const double scale[] = {1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10};
  for (int64_t j = 0; j < N; ++j) A.col(j) *= scale[j];
  const Factors f = svd(numbers(A), N, N);
  for (int64_t r = 0; r < N; ++r) EXPECT_NEAR(f.s[r] / scale[r], 1, 1e-13);
}

TEST(SVD, NotFiniteIsRefused) {
  std::vector<double> a = {1, std::nan(""), 0, 1}, u(4), s(2), vt(4), workspace(10);
  EXPECT_FALSE(plain::svd(u.data(), s.data(), vt.data(), a.data(), 2, 2, workspace.data()));
}

TEST(SVD, EveryPairMeetsOncePerSweep) {
  for (int64_t players : {2, 4, 6, 10}) {
    std::set<std::pair<int64_t, int64_t>> met;
    for (int64_t round = 0; round < players - 1; ++round) {
      std::set<int64_t> busy;
      for (int64_t k = 0; k < players / 2; ++k) {
        int64_t p, q;
        plain::tournament_pair(players, round, k, p, q);
        EXPECT_TRUE(busy.insert(p).second && busy.insert(q).second);
        EXPECT_TRUE(met.insert({p, q}).second);
      }
    }
    EXPECT_EQ(int64_t(met.size()), players * (players - 1) / 2);
  }
}

TEST(SVD, FloatsAreWorkedOnInDouble) {
  const std::vector<float> a = to_float(normals(8 * 5, 3));
  const Factors want = svd(std::vector<double>(a.begin(), a.end()), 8, 5);
  std::vector<float> u(40), s(5), vt(25);
  std::vector<double> workspace(svd_workspace(8, 5) / 8);
  ASSERT_TRUE(plain::svd(u.data(), s.data(), vt.data(), a.data(), 8, 5, workspace.data()));
  EXPECT_EQ(u, to_float(want.u));
  EXPECT_EQ(s, to_float(want.s));
  EXPECT_EQ(vt, to_float(want.vt));
}

TEST(SVD, CpuEqualsPlainToTheBit) {
  const int64_t shapes[][2] = {{1, 1}, {3, 5}, {60, 40}, {8, 60000}};  // the last one uses several threads
  for (const int64_t* shape : shapes) {
    const int64_t M = shape[0], N = shape[1], R = std::min(M, N);
    const std::vector<double> a = normals(M * N, 3);
    const Factors want = svd(a, M, N);
    for (int threads : {1, 2, 3}) {
      omp_set_num_threads(threads);
      Factors f{std::vector<double>(M * R), std::vector<double>(R), std::vector<double>(R * N)};
      std::vector<double> workspace(svd_workspace(M, N) / 8);
      ASSERT_TRUE(cpu::svd(f.u.data(), f.s.data(), f.vt.data(), a.data(), M, N, workspace.data()));
      EXPECT_EQ(f.u, want.u);
      EXPECT_EQ(f.s, want.s);
      EXPECT_EQ(f.vt, want.vt);
    }
  }
}

}  // namespace
}  // namespace chalk
