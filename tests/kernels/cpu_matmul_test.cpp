// cpu matmul against plain: all transposes, every edge of the tiles, and the sizes of real models.

#include "kernels/matmul.h"
#include "tests/kernels/cpu_check.h"

namespace chalk {
namespace {
using test::Buffer;
using test::eps;
using test::expect_same;

void check(MatmulShape s, bool with_bias, int64_t misalignment) {
  Buffer a(s.M * s.K, misalignment, 1), b(s.K * s.N, misalignment + 1, 2), bias(s.N, misalignment, 3);
  Buffer y(s.M * s.N, misalignment + 2, 4);
  const int64_t bytes = cpu::matmul_workspace(s);
  Buffer workspace(bytes / int64_t(sizeof(float)));  // 64-byte aligned, guards behind it
  float* scratch = bytes > 0 ? workspace.data() : nullptr;
  const float* bias_or_null = with_bias ? bias.data() : nullptr;
  // K products below 5 · 5 added one after the other: |error| ≤ eps/2 · Σ_k |partial sum_k|, and the partial
  // sums of K random products of deviation 1 stay below 5 √K. Plain adds in double and rounds once.
  const double tolerance = eps / 2 * 5 * std::sqrt(double(s.K)) * (double(s.K) + 2) + 8 * eps;
  expect_same(
      {&y}, [&] { cpu::matmul(y, a, b, bias_or_null, s, scratch); },
      [&] { plain::matmul<float>(y, a, b, bias_or_null, s, nullptr); },
      [=](size_t, int64_t, double want) { return tolerance + eps * std::abs(want); },
      "matmul M=" + std::to_string(s.M) + " N=" + std::to_string(s.N) + " K=" + std::to_string(s.K) +
          (s.transpose_a ? " Ta" : "") + (s.transpose_b ? " Tb" : "") + (s.accumulate ? " +=" : ""));
  ASSERT_TRUE(workspace.guards_intact()) << "matmul_workspace() is too small";
}

TEST(CpuMatmul, EverySmallShape) {
  for (int64_t M : {0, 1, 2, 3, 5, 8, 9, 12, 13, 25, 37}) {
    for (int64_t N = 0; N <= 2 * cpu::simd::lanes + 2; ++N) {
      for (int64_t K : {0, 1, 5, 19}) {
        for (int bits = 0; bits < 16; ++bits) {
          check({M, N, K, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0}, (bits & 8) != 0,
                (M + N + K) % 4);
        }
      }
    }
  }
}

TEST(CpuMatmul, RealShapes) {
  const int64_t sizes[][3] = {{512, 384, 128}, {512, 128, 344}, {512, 417, 128}, {384, 128, 512},
                              {128, 128, 344}, {100, 70, 1000}, {1, 1000, 300},  {17, 300, 129},
                              {32, 200, 400},  {4, 500, 777},   {8, 333, 129},   {64, 2100, 100}};
  for (const auto& size : sizes) {
    for (int bits = 0; bits < 4; ++bits) {
      check({size[0], size[1], size[2], (bits & 1) != 0, (bits & 2) != 0, bits == 0}, bits == 2, bits % 3);
    }
  }
}

// Rounding aside, a matmul of small integers is exact: a wrong index cannot hide behind a tolerance.
TEST(CpuMatmul, IntegersAreExact) {
  for (int bits = 0; bits < 4; ++bits) {
    const MatmulShape s = {61, 83, 800, (bits & 1) != 0, (bits & 2) != 0};
    Buffer a(s.M * s.K), b(s.K * s.N), y(s.M * s.N), workspace(cpu::matmul_workspace(s) / 4);
    for (int64_t i = 0; i < a.count; ++i) a[i] = float(i * 7 % 13) - 6;
    for (int64_t i = 0; i < b.count; ++i) b[i] = float(i * 5 % 11) - 5;
    expect_same(
        {&y}, [&] { cpu::matmul(y, a, b, nullptr, s, workspace); },
        [&] { plain::matmul<float>(y, a, b, nullptr, s, nullptr); },
        [](size_t, int64_t, double) { return 0.0; }, "integers");
  }
}

}  // namespace
}  // namespace chalk
