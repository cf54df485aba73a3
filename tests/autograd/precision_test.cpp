// The scope MatmulPrecision: linear() and matmul() follow it, forward and backward, and nothing else does.

#include "autograd/precision.h"

#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "kernels/matmul.h"
#include "tests/autograd/random_tensor.h"

namespace chalk {
namespace {

std::vector<float> product(const Tensor& a, const Tensor& b, const MatmulShape& shape) {
  std::vector<float> y(size_t(shape.M * shape.N));
  plain::matmul<float>(y.data(), a.data(), b.data(), nullptr, shape, nullptr);
  return y;
}

struct PrecisionScope : testing::TestWithParam<Precision> {};

TEST_P(PrecisionScope, LinearUsesItForwardAndBackward) {
  const Precision p = GetParam();
  Tensor x = random_tensor({5, 7}, 1, Device::Plain), weight = random_tensor({3, 7}, 2, Device::Plain);
  const Tensor dy = random_tensor({5, 3}, 3, Device::Plain);
  x.set_requires_grad();
  weight.set_requires_grad();
  Tensor y;
  {
    const MatmulPrecision scope(p);
    y = linear(x, weight);
  }
  EXPECT_EQ(MatmulPrecision::current(), Precision::FP32);
  EXPECT_EQ(y.to_vector(), product(x, weight, {.M = 5, .N = 3, .K = 7, .transpose_b = true, .precision = p}));
  run_backward(y, dy);  // outside the scope: each product remembers
  EXPECT_EQ(x.grad().to_vector(), product(dy, weight, {.M = 5, .N = 7, .K = 3, .precision = p}));
  EXPECT_EQ(weight.grad().to_vector(),
            product(dy, x, {.M = 3, .N = 7, .K = 5, .transpose_a = true, .precision = p}));
}

TEST_P(PrecisionScope, MatmulUsesItForwardAndBackward) {
  const Precision p = GetParam();
  Tensor a = random_tensor({5, 7}, 1, Device::Plain), b = random_tensor({7, 3}, 2, Device::Plain);
  const Tensor dy = random_tensor({5, 3}, 3, Device::Plain);
  a.set_requires_grad();
  b.set_requires_grad();
  Tensor y;
  {
    const MatmulPrecision outer(p);
    { const MatmulPrecision inner(Precision::FP32); }
    y = matmul(a, b);
  }
  EXPECT_EQ(y.to_vector(), product(a, b, {.M = 5, .N = 3, .K = 7, .precision = p}));
  run_backward(y, dy);
  EXPECT_EQ(a.grad().to_vector(),
            product(dy, b, {.M = 5, .N = 7, .K = 3, .transpose_b = true, .precision = p}));
  EXPECT_EQ(b.grad().to_vector(),
            product(a, dy, {.M = 7, .N = 3, .K = 5, .transpose_a = true, .precision = p}));
}

INSTANTIATE_TEST_SUITE_P(All, PrecisionScope,
                         testing::Values(Precision::FP32, Precision::TF32, Precision::BF16));

}  // namespace
}  // namespace chalk
