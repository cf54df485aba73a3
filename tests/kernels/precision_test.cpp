// Rounding to bf16 and tf32, and the products of the three backends in each precision.

#include "kernels/precision.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/precision.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/runtime.h"
#include "tests/kernels/cuda_check.h"

namespace chalk {
namespace {
using test::Both;
using test::eps;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Precision, RoundsToNearestAndTiesToEven) {
  // One step above 1 is 2⁻⁷ in bf16 and 2⁻¹⁰ in tf32; half of it is a tie.
  for (const auto& [precision, step] : {std::pair{Precision::BF16, 0x1p-7f}, {Precision::TF32, 0x1p-10f}}) {
    EXPECT_EQ(rounded(1 + step, precision), 1 + step);
    EXPECT_EQ(rounded(1 + step / 2, precision), 1) << "a tie goes to the even neighbour, here down";
    EXPECT_EQ(rounded(1 + 3 * step / 2, precision), 1 + 2 * step) << "here up";
    EXPECT_EQ(rounded(1 + step / 2 + 0x1p-23f, precision), 1 + step);
    EXPECT_EQ(rounded(-1 - 3 * step / 4, precision), -1 - step);
    EXPECT_EQ(rounded(2 - 0x1p-23f, precision), 2) << "a carry into the exponent";
    EXPECT_EQ(rounded(std::numeric_limits<float>::max(), precision), kInfinity);
    EXPECT_EQ(rounded(-kInfinity, precision), -kInfinity);
    EXPECT_TRUE(std::isnan(rounded(std::nanf(""), precision)));
    EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0x7fffffffu), precision)))
        << "all bits set: no carry into the sign";
    EXPECT_EQ(std::bit_cast<uint32_t>(rounded(-0.0f, precision)), 0x80000000u);
  }
  EXPECT_EQ(rounded(1 + 0x1p-23f, Precision::FP32), 1 + 0x1p-23f);
}

// The largest relative error that the table in kernels/precision.h names, over numbers of every size.
TEST(Precision, ErrsByAtMostHalfAStep) {
  for (const auto& [precision, unit] : {std::pair{Precision::BF16, 0x1p-8}, {Precision::TF32, 0x1p-11}}) {
    double worst = 0;
    for (uint64_t i = 0; i < 20000; ++i) {
      const float x = std::ldexp(random_normal(1, i), int(i % 200) - 100);
      worst = std::max(worst, std::abs(double(rounded(x, precision)) - double(x)) / std::abs(double(x)));
    }
    EXPECT_LE(worst, unit);
    EXPECT_GT(worst, 0.9 * unit);
  }
}

TEST(Precision, VectorsRoundAsNumbersDo) {
  std::vector<float> x = {0.0f,
                          -0.0f,
                          kInfinity,
                          -kInfinity,
                          std::nanf(""),
                          std::bit_cast<float>(0x7fffffffu),
                          std::numeric_limits<float>::max(),
                          std::numeric_limits<float>::denorm_min()};
  for (uint64_t i = 0; i < 1000; ++i) x.push_back(std::bit_cast<float>(uint32_t(random_word(3, i))));
  for (Precision precision : {Precision::BF16, Precision::TF32}) {
    std::vector<float> y(x.size());
    cpu::round_span(y.data(), x.data(), int64_t(x.size()), precision);
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(rounded(x[i], precision))) << x[i];
    }
  }
}

// ---- products ----

struct Operands {
  explicit Operands(const MatmulShape& s) : a(s.M * s.K, 1), b(s.K * s.N, 2), bias(s.N, 3), y(s.M * s.N, 4) {}
  Both a, b, bias, y;
};

std::vector<MatmulShape> shapes() {
  std::vector<MatmulShape> all;
  const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {2, 40, 33}, {9, 18, 100}, {40, 70, 30}, {65, 50, 401}};
  for (const auto& [M, N, K] : sizes) {
    for (int bits = 0; bits < 8; ++bits) {
      for (Precision precision : {Precision::FP32, Precision::TF32, Precision::BF16}) {
        all.push_back({M, N, K, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, precision});
      }
    }
  }
  return all;
}

std::string text(const MatmulShape& s) {
  return fmt::format("M={} N={} K={} Ta={} Tb={} +={} drops {} bits", s.M, s.N, s.K, s.transpose_a,
                     s.transpose_b, s.accumulate, dropped_bits(s.precision));
}

std::vector<float> plain_product(const Operands& o, const MatmulShape& s) {
  std::vector<float> y = o.y.host;
  plain::matmul<float>(y.data(), o.a.host.data(), o.b.host.data(), o.bias.host.data(), s, nullptr);
  return y;
}

// The definition: round both operands, then multiply in float32. Bit for bit.
TEST(PrecisionMatmul, PlainIsTheProductOfRoundedOperands) {
  for (const MatmulShape& s : shapes()) {
    Operands o(s), r(s);
    for (float& x : r.a.host) x = rounded(x, s.precision);
    for (float& x : r.b.host) x = rounded(x, s.precision);
    MatmulShape exact = s;
    exact.precision = Precision::FP32;
    EXPECT_EQ(plain_product(o, s), plain_product(r, exact)) << text(s);
  }
}

// |y_p − y| ≤ (2u + u²) Σ_k |a_mk b_kn|, and it is not 0: the argument does something.
TEST(PrecisionMatmul, ErrorAgainstFloat32StaysBelowItsBound) {
  for (MatmulShape s : shapes()) {
    if (s.precision == Precision::FP32) continue;
    const double u = s.precision == Precision::BF16 ? 0x1p-8 : 0x1p-11;
    Operands o(s);
    const std::vector<float> low = plain_product(o, s);
    s.precision = Precision::FP32;
    const std::vector<float> high = plain_product(o, s);
    for (Both* x : {&o.a, &o.b, &o.bias, &o.y}) {
      for (float& v : x->host) v = std::abs(v);
    }
    const std::vector<float> magnitude = plain_product(o, s);  // Σ |a b| + |bias| [+ |y|]
    for (size_t i = 0; i < high.size(); ++i) {
      const double bound = (2 * u + u * u + eps) * double(magnitude[i]);
      ASSERT_LE(std::abs(double(low[i]) - double(high[i])), bound) << text(s);
    }
    if (s.M * s.N > 1) {
      EXPECT_NE(low, high) << text(s);
    }
  }
}

// cpu rounds the same numbers to the same bits and adds in its usual order: bit for bit its own float32 product of rounded operands.
TEST(PrecisionMatmul, CpuIsItsOwnProductOfRoundedOperands) {
  for (const MatmulShape& s : shapes()) {
    Operands o(s), r(s);
    for (float& x : r.a.host) x = rounded(x, s.precision);
    for (float& x : r.b.host) x = rounded(x, s.precision);
    MatmulShape exact = s;
    exact.precision = Precision::FP32;
    const auto product = [](Operands& in, const MatmulShape& shape) {
      const int64_t bytes = cpu::matmul_workspace(shape);
      float* workspace = static_cast<float*>(allocate_memory(bytes, Device::CPU));
      cpu::matmul(in.y.host.data(), in.a.host.data(), in.b.host.data(), in.bias.host.data(), shape,
                  workspace);
      release_memory(workspace, bytes, Device::CPU);
      return in.y.host;
    };
    EXPECT_EQ(product(o, s), product(r, exact)) << text(s);
  }
}

// cuda, by cuBLAS (on cusim: the cpu product) and by hand, against plain.
TEST(PrecisionMatmul, CudaFollowsPlain) {
  const bool gpu = cuda::device_description().rfind("cusim", 0) != 0;
  for (auto* kernel : {cuda::matmul, cuda::matmul_by_hand}) {
    for (const MatmulShape& s : shapes()) {
      Operands o(s);
      const int64_t bytes = cuda::matmul_workspace(s);
      float* workspace = static_cast<float*>(allocate_memory(bytes, Device::CUDA));
      // K products summed in float32, in any order: |error| ≤ eps/2 · Σ_k |partial sum_k|, and the partial sums of K random
      // products stay below 5 √K. Tensor cores cut tf32 operands off: up to 2⁻¹⁰ of each product then.
      double tolerance = eps / 2 * 5 * std::sqrt(double(s.K)) * (double(s.K) + 2) + 8 * eps;
      if (gpu && s.precision == Precision::TF32) tolerance += 3 * 0x1p-10 * double(s.K);
      test::expect_same(
          {&o.y}, [&] { kernel(o.y.device(), o.a.device(), o.b.device(), o.bias.device(), s, workspace); },
          [&] { o.y.host = plain_product(o, s); },
          [=](size_t, int64_t, double want) { return tolerance + 2 * eps * (std::abs(want) + 4); }, text(s));
      release_memory(workspace, bytes, Device::CUDA);
    }
  }
}

}  // namespace
}  // namespace chalk
