// Products with a 4-bit weight: nibble order by hand, complex step, and cpu against plain over all edges of blocks and tiles.

#include "kernels/nf4_matmul.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"
#include "tests/kernels/cpu_check.h"
#include "tests/kernels/nf4_example.h"

namespace chalk {
namespace {
using namespace chalk::test;

// Sheet, test 10: the even element is in the high half of its byte. 0xA3 holds code 10, then code 3.
TEST(NF4Matmul, HandMadeByteHighHalfFirst) {
  const uint8_t codes[] = {0xA3, 0x0F};
  float book[16];
  for (int i = 0; i < 16; ++i) book[i] = float(i);
  const float absmax[] = {1.0f, 10.0f};
  const NF4Weight w{.out = 2, .in = 2, .block = 2, .codes = codes, .book = book, .absmax = absmax};
  float plain_numbers[4], cpu_numbers[4];
  plain::nf4_dequantize(plain_numbers, w, 0, 4);
  cpu::nf4_dequantize(cpu_numbers, w, 0, 4);
  const float expected[] = {10, 3, 0, 150};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(plain_numbers[i], expected[i]);
    EXPECT_EQ(cpu_numbers[i], expected[i]);
  }
  const float x[] = {1, 100}, bias[] = {0.5f, 0};
  float y[2];
  plain::nf4_matmul_forward(y, x, w, bias, 1, static_cast<float*>(nullptr));
  EXPECT_EQ(y[0], 10 + 300 + 0.5f);
  EXPECT_EQ(y[1], 15000);
}

TEST(NF4Matmul, BackwardMatchesComplexStep) {
  for (const auto& [N, out, in] : {std::tuple(1, 1, 1), {2, 3, 5}, {3, 7, 4}}) {
    for (bool doubly : {false, true}) {
      const NF4Example weight(out, in, 4, doubly);
      auto forward = [&, n = N, o = out](const auto& inputs) {
        using T = NumberOf<decltype(inputs)>;
        std::vector<T> y(size_t(n * o));
        plain::nf4_matmul_forward(y.data(), inputs[0].data(), weight.view, static_cast<const T*>(nullptr), n,
                                  static_cast<T*>(nullptr));
        return y;
      };
      auto backward = [&, n = N](const Gradients& d, const double* dy, const Inputs&) {
        if (d[0]) plain::nf4_matmul_backward(d[0], dy, weight.view, n, static_cast<double*>(nullptr));
      };
      expect_complex_step({normals(N * in, 3)}, forward, backward, Nulls::Forbidden);
    }
  }
}

// Every backend widens to the same floats: one product, and for doubly quantized scales one product and one sum more.
TEST(NF4Matmul, DequantizedBitsAgree) {
  for (int64_t block : {2, 6, 64}) {
    for (bool doubly : {false, true}) {
      const NF4Example weight(9, 37, block, doubly);
      for (int64_t first : {0, 1, 5, 64, 101}) {
        for (int64_t count = 0; count <= 2 * cpu::simd::lanes + 1; ++count) {
          std::vector<float> expected(size_t(count) + 1, -7), got = expected;
          plain::nf4_dequantize(expected.data(), weight.view, first, count);
          cpu::nf4_dequantize(got.data(), weight.view, first, count);
          ASSERT_EQ(got, expected) << "block " << block << " first " << first << " count " << count;
        }
      }
    }
  }
}

void check_cpu(int64_t N, int64_t out, int64_t in, int64_t block, bool doubly, bool with_bias) {
  const NF4Example weight(out, in, block, doubly);
  Buffer x(N * in, 1, 1), dy(N * out, 2, 2), bias(out, 1, 3), y(N * out, 3, 4), dx(N * in, 1, 5);
  const int64_t bytes = cpu::nf4_matmul_workspace(weight.view, N);
  Buffer workspace(bytes / int64_t(sizeof(float)));
  float* scratch = bytes > 0 ? workspace.data() : nullptr;
  const float* bias_or_null = with_bias ? bias.data() : nullptr;
  // K products below 5 · (largest number of the weight), added one after the other: see tests/kernels/cpu_matmul_test.cpp.
  const double largest_number = weight.largest_number();
  const auto tolerance = [&](int64_t K) {
    return eps / 2 * 5 * largest_number * std::sqrt(double(K)) * (double(K) + 2) + 8 * eps;
  };
  const std::string what = "N=" + std::to_string(N) + " out=" + std::to_string(out) +
                           " in=" + std::to_string(in) + " block=" + std::to_string(block);
  expect_same(
      {&y}, [&] { cpu::nf4_matmul_forward(y, x, weight.view, bias_or_null, N, scratch); },
      [&] { plain::nf4_matmul_forward<float>(y, x, weight.view, bias_or_null, N, nullptr); },
      [&](size_t, int64_t, double want) { return tolerance(in) + eps * std::abs(want); }, "forward " + what);
  expect_same(
      {&dx}, [&] { cpu::nf4_matmul_backward(dx, dy, weight.view, N, scratch); },
      [&] { plain::nf4_matmul_backward<float>(dx, dy, weight.view, N, nullptr); },
      [&](size_t, int64_t, double want) { return tolerance(out) + eps * std::abs(want); },
      "backward " + what);
  ASSERT_TRUE(workspace.guards_intact()) << "nf4_matmul_workspace() is too small, " << what;
}

TEST(NF4Matmul, CpuMatchesPlainOnSmallShapes) {
  for (int64_t N : {0, 1, 4, 5, 13, 25}) {
    for (int64_t out : {1, 3, 16, 33}) {
      for (int64_t in = 1; in <= 2 * cpu::simd::lanes + 2; in += 3) {
        check_cpu(N, out, in, 2 + 2 * (in % 5), (N + in) % 2 == 0, out % 2 == 1);
      }
    }
  }
}

TEST(NF4Matmul, CpuMatchesPlainOnRealShapes) {
  check_cpu(64, 128, 128, 64, true, false);
  check_cpu(37, 344, 129, 64, true, true);
  check_cpu(20, 70, 900, 64, false, false);  // two blocks of k forward
  check_cpu(20, 900, 70, 64, false, false);  // two blocks of k backward
  check_cpu(2, 130, 1100, 64, true, true);   // few rows, three buffers
  check_cpu(6, 2100, 20, 64, false, false);  // two blocks of n
}

}  // namespace
}  // namespace chalk
