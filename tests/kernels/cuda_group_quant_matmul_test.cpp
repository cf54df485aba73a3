// cuda against plain: every width, group and padding, both sides of the few-rows limit.

#include "kernels/group_quant_matmul.h"
#include "tests/kernels/cuda_check.h"
#include "tests/kernels/packed_example.h"

namespace chalk {
namespace {
using test::Both;
using test::eps;
using test::expect_same;
using test::OnBoth;
using test::PackedExample;

// A packed weight on both sides.
struct Weights {
  Weights(int64_t N, int64_t K, int bits, int64_t group, bool shuffled, bool has_zeros, float unit = 1,
          float only_scale = 0)
      : example(N, K, bits, group, shuffled, has_zeros, unit),
        codes(example.codes),
        zeros(example.zeros),
        input_of(example.input_of) {
    if (only_scale > 0) std::fill(example.scales.begin(), example.scales.end(), float_to_half(only_scale));
    scales = std::make_unique<OnBoth<uint16_t>>(example.scales);
    view = example.w;
    view.codes = codes.block;
    view.scales = scales->block;
    if (view.zeros) view.zeros = zeros.block;
    if (view.input_of) view.input_of = input_of.block;
  }
  PackedExample example;
  OnBoth<uint8_t> codes, zeros;
  OnBoth<int32_t> input_of;
  std::unique_ptr<OnBoth<uint16_t>> scales;
  GroupQuantWeight view;  // for the device; the host's is example.w
};

void check(int64_t M, const Weights& weights, bool with_bias, bool accumulate, bool integers,
           const std::string& name) {
  const GroupQuantWeight& w = weights.example.w;
  Both x(M * w.K, 1), bias(w.N, 2), y(M * w.N, 3), dy(M * w.N, 4), dx(M * w.K, 5);
  if (integers) {
    for (Both* b : {&x, &bias, &y, &dy, &dx}) {
      for (size_t i = 0; i < b->host.size(); ++i) b->host[i] = float(int(i * 7 % 13) - 6);
      b->upload();
    }
  }
  Both workspace(cuda::group_quant_matmul_workspace(w, M) / int64_t(sizeof(float)));
  // Sums of `terms` products below 5 · (largest ŵ), random signs: partial sums below 5 √terms times that, and each of the
  // `terms` additions rounds by eps/2 of it. The weights themselves are exact.
  const auto tolerance = [&](int64_t terms, double want) {
    if (integers) return 0.0;
    const double largest = 5 * test::largest(weights.example.values);
    return eps / 2 * (double(terms) + 3) * largest * 5 * std::sqrt(double(terms)) + eps * std::abs(want);
  };
  expect_same(
      {&y},
      [&] {
        cuda::group_quant_matmul(y.device(), x.device(), weights.view, with_bias ? bias.device() : nullptr, M,
                                 accumulate, workspace.device());
        workspace.download();
      },
      [&] {
        plain::group_quant_matmul<float>(y.host.data(), x.host.data(), w,
                                         with_bias ? bias.host.data() : nullptr, M, accumulate, nullptr);
      },
      [&](size_t, int64_t, double want) { return tolerance(w.K, want); }, name);
  expect_same(
      {&dx},
      [&] {
        cuda::group_quant_matmul_dx(dx.device(), dy.device(), weights.view, M, workspace.device());
        workspace.download();
      },
      [&] { plain::group_quant_matmul_dx<float>(dx.host.data(), dy.host.data(), w, M, nullptr); },
      [&](size_t, int64_t, double want) { return tolerance(w.N, want); }, name + " dx");
}

TEST(CudaGroupQuantMatmul, EveryWidthAndGroup) {
  int turn = 0;
  for (int bits : {1, 2, 4, 8}) {
    for (int64_t K : {1, 16, 31, 130}) {
      for (int64_t group : {-1, 5, 16, 24, 64}) {
        for (int kind = 0; kind < 4; ++kind) {
          const int64_t M = std::vector<int64_t>{1, 3, 9}[size_t(turn % 3)];
          check(M, Weights(6, K, bits, group, (kind & 1) != 0, (kind & 2) != 0, bits == 1 ? 4.0f : 1.0f),
                turn % 2 == 0, turn % 5 < 2, false,
                "M=" + std::to_string(M) + " K=" + std::to_string(K) + " bits=" + std::to_string(bits) +
                    " group=" + std::to_string(group) + " kind=" + std::to_string(kind));
          turn += 1;
        }
      }
    }
  }
}

// Rows in fours, the few-rows limit at 8, warps of 8 rows, blocks of 32 positions.
TEST(CudaGroupQuantMatmul, EdgesOfTheBlocks) {
  for (int64_t M : {0, 1, 4, 5, 8, 9, 20}) {
    for (int64_t N : {0, 1, 7, 8, 9, 33}) {
      check(M, Weights(N, 96, 4, 32, false, true), N % 2 == 0, M % 2 == 0, false,
            "M=" + std::to_string(M) + " N=" + std::to_string(N));
    }
  }
}

TEST(CudaGroupQuantMatmul, RealShape) {
  check(2, Weights(64, 1100, 4, 128, false, true), true, false, false, "few rows");
  check(17, Weights(70, 800, 2, 64, true, true), true, false, false, "many rows");
}

// Small whole numbers are exact in float: a wrong index cannot hide behind a tolerance.
TEST(CudaGroupQuantMatmul, IntegersAreExact) {
  for (int bits : {1, 2, 4, 8}) {
    for (int64_t M : {2, 20}) {
      check(M, Weights(45, 200, bits, 32, true, true, 1, 2), true, true, true, "integers");
    }
  }
}

}  // namespace
}  // namespace chalk
