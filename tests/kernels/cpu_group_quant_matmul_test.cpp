// cpu against plain: every width, group and padding, both sides of the few-rows limit.

#include "kernels/group_quant_matmul.h"
#include "tests/kernels/cpu_check.h"
#include "tests/kernels/packed_example.h"

namespace chalk {
namespace {
using test::Buffer;
using test::eps;
using test::expect_same;
using test::PackedExample;

struct Case {
  int64_t M, N, K;
  int bits;
  int64_t group;
  bool shuffled, zeros;
  std::string name() const {
    return "M=" + std::to_string(M) + " N=" + std::to_string(N) + " K=" + std::to_string(K) +
           " bits=" + std::to_string(bits) + " group=" + std::to_string(group) +
           (shuffled ? " shuffled" : "") + (zeros ? " zeros" : "");
  }
};

// Codes are used before their zero is taken away, so the running sums hold K products below 5 · 0.11 · 2^bits and as
// much again from Σ x: random signs keep them below 5 √K times that. 2 (K + 16) roundings of eps/2 each.
double tolerance(const Case& c, double terms) {
  const double largest = 5 * 0.11 * double(1 << c.bits);
  return eps * (terms + 16) * largest * 5 * std::sqrt(terms) / 3;
}

void check(const Case& c, int64_t misalignment) {
  PackedExample e(c.N, c.K, c.bits, c.group, c.shuffled, c.zeros);
  Buffer x(c.M * c.K, misalignment, 1), bias(c.N, misalignment, 2), y(c.M * c.N, misalignment + 1, 3);
  Buffer workspace(cpu::group_quant_matmul_workspace(e.w, c.M) / int64_t(sizeof(float)));
  const bool accumulate = misalignment == 1;
  const float* bias_or_null = misalignment == 2 ? nullptr : bias.data();
  const double tol = tolerance(c, double(c.K));
  expect_same(
      {&y}, [&] { cpu::group_quant_matmul(y, x, e.w, bias_or_null, c.M, accumulate, workspace); },
      [&] { plain::group_quant_matmul<float>(y, x, e.w, bias_or_null, c.M, accumulate, nullptr); },
      [&](size_t, int64_t, double want) { return tol + eps * std::abs(want); }, c.name());
  ASSERT_TRUE(workspace.guards_intact()) << c.name() << ": the workspace is too small";

  Buffer dy(c.M * c.N, misalignment, 4), dx(c.M * c.K, misalignment, 5);
  expect_same(
      {&dx}, [&] { cpu::group_quant_matmul_dx(dx, dy, e.w, c.M, workspace); },
      [&] { plain::group_quant_matmul_dx<float>(dx, dy, e.w, c.M, nullptr); },
      [&](size_t, int64_t, double want) { return tolerance(c, double(c.N)) + eps * std::abs(want); },
      c.name() + " dx");
  ASSERT_TRUE(workspace.guards_intact()) << c.name() << ": the workspace is too small for dx";
}

TEST(CpuGroupQuantMatmul, EveryWidthAndGroup) {
  int64_t misalignment = 0;
  for (int bits : {1, 2, 4, 8}) {
    for (int64_t K : {1, 15, 16, 31, 64, 130}) {
      for (int64_t group : {-1, 5, 16, 24, 32, 64}) {
        for (int kind = 0; kind < 4; ++kind) {
          for (int64_t M : {1, 3, 5}) {
            check({M, M == 5 ? 35 : 6, K, bits, group, (kind & 1) != 0, (kind & 2) != 0}, misalignment++ % 3);
          }
        }
      }
    }
  }
}

TEST(CpuGroupQuantMatmul, EdgesOfTheTiles) {
  for (int64_t M : {0, 1, 2, 4, 5, 12, 13, 30}) {
    for (int64_t N : {0, 1, 3, 4, 16, 31, 32, 33, 70}) check({M, N, 96, 4, 32, false, true}, (M + N) % 3);
  }
}

TEST(CpuGroupQuantMatmul, RealShapes) {
  check({1, 768, 2048, 4, 128, false, true}, 0);
  check({1, 300, 2048, 8, -1, false, false}, 0);
  check({17, 417, 1100, 4, 64, false, true}, 1);
  check({40, 200, 800, 2, 32, true, true}, 2);
}

// Small whole numbers are exact in float: a wrong index cannot hide behind a tolerance.
TEST(CpuGroupQuantMatmul, IntegersAreExact) {
  for (int bits : {2, 4, 8}) {
    for (int64_t M : {2, 20}) {
      PackedExample e(45, 200, bits, 32, true, true);
      std::fill(e.scales.begin(), e.scales.end(), float_to_half(2));
      Buffer x(M * 200), y(M * 45), workspace(cpu::group_quant_matmul_workspace(e.w, M) / 4);
      for (int64_t i = 0; i < x.count; ++i) x[i] = float(i * 7 % 13) - 6;
      expect_same(
          {&y}, [&] { cpu::group_quant_matmul(y, x, e.w, nullptr, M, false, workspace); },
          [&] { plain::group_quant_matmul<float>(y, x, e.w, nullptr, M, false, nullptr); },
          [](size_t, int64_t, double) { return 0.0; }, "integers");
    }
  }
}

}  // namespace
}  // namespace chalk
