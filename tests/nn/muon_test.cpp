// Newton-Schulz against Eigen's SVD, Muon's step against its equations in double.
#include "nn/muon.h"

#include <gtest/gtest.h>

#include "tests/autograd/random_tensor.h"
#include "tests/eigen.h"
#include "tests/expect.h"

namespace chalk {
namespace {

using test::Matrix;

Matrix to_eigen(const Tensor& t) {
  return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
             t.data(), t.dim(0), t.dim(1))
      .cast<double>();
}

Matrix newton_schulz_in_double(Matrix X) {
  const bool tall = X.rows() > X.cols();
  if (tall) X.transposeInPlace();
  X /= X.norm() + 1e-7;
  for (int i = 0; i < 5; ++i) {
    const Matrix A = X * X.transpose();
    X = (3.4445 * X + (-4.7750 * A + 2.0315 * A * A) * X).eval();
  }
  if (tall) X.transposeInPlace();
  return X;
}

class MuonTest : public testing::TestWithParam<Device> {};

TEST_P(MuonTest, NewtonSchulzMakesEverySingularValueAboutOneAndKeepsTheDirections) {
  for (const Shape& shape : std::vector<Shape>{{8, 40}, {40, 8}, {3, 17}, {64, 16}, {1, 5}}) {
    const Tensor u = random_tensor(shape, 3, GetParam());
    const Matrix U = to_eigen(newton_schulz(u, 5));
    const Eigen::JacobiSVD<Matrix> svd(to_eigen(u), Eigen::ComputeThinU | Eigen::ComputeThinV);
    const Eigen::VectorXd singular_values = Eigen::JacobiSVD<Matrix>(U).singularValues();
    EXPECT_GE(singular_values.minCoeff(), 0.68) << to_string(shape);
    EXPECT_LE(singular_values.maxCoeff(), 1.2) << to_string(shape);

    // U = L f(S) Rᵀ with the SVD's own L and R: LᵀUR is diagonal.
    const Matrix inner = svd.matrixU().transpose() * U * svd.matrixV();
    const Matrix off_diagonal = inner - Matrix(inner.diagonal().asDiagonal());
    EXPECT_LE(off_diagonal.cwiseAbs().maxCoeff(), 1e-4) << to_string(shape);
  }
}

TEST_P(MuonTest, NewtonSchulzAgreesWithDouble) {
  for (const Shape& shape : std::vector<Shape>{{8, 40}, {40, 8}, {16, 16}}) {
    const Tensor u = random_tensor(shape, 4, GetParam());
    const Matrix difference = to_eigen(newton_schulz(u, 5)) - newton_schulz_in_double(to_eigen(u));
    // Each step can enlarge an error by its slope at 0, 3.4445; one rounding of eps/|X| at the start grows most:
    // 3.4445⁵ · 2^-24 · √16 = 1e-4.
    EXPECT_LE(difference.cwiseAbs().maxCoeff(), 1e-4) << to_string(shape);
  }
}

TEST_P(MuonTest, AGradientOfZeroStaysZero) {
  const Tensor U = newton_schulz(Tensor({4, 6}, GetParam()), 5);
  EXPECT_EQ(U.to_vector(), std::vector<float>(24, 0.0f));
}

TEST_P(MuonTest, StepsFollowTheEquations) {
  Tensor w = random_tensor({6, 10}, 1, GetParam());
  w.set_requires_grad();
  const Muon::Options o{.lr = 0.01f, .momentum = 0.95f, .weight_decay = 0.05f};
  Matrix W = to_eigen(w), m = Matrix::Zero(6, 10);
  Muon optimizer({{"w", w}}, o);
  for (uint64_t t = 0; t < 3; ++t) {
    const Tensor g = random_tensor({6, 10}, 50 + t, GetParam());
    w.grad().copy_from(g);
    optimizer.step(0.5);

    const double beta = o.momentum, lr = 0.5 * double(o.lr);
    m = beta * m + (1 - beta) * to_eigen(g);
    const Matrix U = newton_schulz_in_double(beta * m + (1 - beta) * to_eigen(g));
    W = (1 - lr * double(o.weight_decay)) * W - lr * 0.2 * std::sqrt(10.0) * U;
  }
  // three updates of lr · 0.2 · √10 = 3e-3 times an error of 1e-4, and the rounding of W
  EXPECT_LE((to_eigen(w) - W).cwiseAbs().maxCoeff(), 2e-6);
}

TEST_P(MuonTest, OnlyMatrices) {
  const std::string text = error_text([] { Muon({{"h.0.ln_1.weight", Tensor({4}, GetParam())}}, {}); });
  EXPECT_MENTIONS(text, "h.0.ln_1.weight has shape (4)");
}

INSTANTIATE_TEST_SUITE_P(Devices, MuonTest, testing::Values(Device::Plain, Device::CPU), device_test_name);

}  // namespace
}  // namespace chalk
