// cuda against plain: widened bits, and products over all edges of words, blocks of weights and blocks of threads.

#include "kernels/nf4_matmul.h"
#include "tests/kernels/cuda_check.h"
#include "tests/kernels/nf4_example.h"

namespace chalk {
namespace {
using test::Both;
using test::eps;
using test::expect_same;
using test::NF4Example;
using test::OnBoth;

// A random weight on both sides.
struct Weights {
  Weights(int64_t out, int64_t in, int64_t block, bool doubly)
      : example(out, in, block, doubly),
        codes(example.codes),
        absmax_codes(example.absmax_codes),
        book(example.book),
        absmax(example.absmax),
        absmax_scales(example.absmax_scales),
        map(example.map) {
    view = example.view;
    view.codes = codes.block, view.book = book.block;
    if (!doubly) {
      view.absmax = absmax.block;
    } else {
      view.absmax_codes = absmax_codes.block, view.absmax_scales = absmax_scales.block, view.map = map.block;
    }
  }
  NF4Example example;
  OnBoth<uint8_t> codes, absmax_codes;
  OnBoth<float> book, absmax, absmax_scales, map;
  NF4Weight view;  // for the device; the host's is example.view
};

// One product, and for doubly quantized scales one product and one sum more, never fused: the same bits.
TEST(CudaNF4Matmul, DequantizedBitsAgree) {
  for (int64_t block : {2, 6, 64}) {
    for (bool doubly : {false, true}) {
      const Weights weights(9, 37, block, doubly);
      for (int64_t first : {0, 1, 5, 64, 101}) {
        for (int64_t count : {0, 1, 2, 7, 8, 9, 31, 100, 232}) {
          Both y(count, 1);
          expect_same(
              {&y}, [&] { cuda::nf4_dequantize(y.device(), weights.view, first, count); },
              [&] { plain::nf4_dequantize<float>(y.host.data(), weights.example.view, first, count); },
              [](size_t, int64_t, double) { return 0.0; },
              "block " + std::to_string(block) + " first " + std::to_string(first));
        }
      }
    }
  }
}

void check(int64_t N, int64_t out, int64_t in, int64_t block, bool doubly, bool with_bias) {
  const Weights weights(out, in, block, doubly);
  const NF4Weight& w = weights.example.view;
  Both x(N * in, 1), dy(N * out, 2), bias(out, 3), y(N * out, 4), dx(N * in, 5);
  Both workspace(cuda::nf4_matmul_workspace(w, N) / int64_t(sizeof(float)));
  // Sums of `terms` products below 5 · (largest number of the weight), random signs: partial sums below 5 √terms times that,
  // and each of the `terms` additions rounds by eps/2 of it.
  const auto tolerance = [&](int64_t terms, double want) {
    const double largest = 5 * weights.example.largest_number();
    return eps / 2 * (double(terms) + 3) * largest * 5 * std::sqrt(double(terms)) + eps * std::abs(want);
  };
  const std::string what = "N=" + std::to_string(N) + " out=" + std::to_string(out) +
                           " in=" + std::to_string(in) + " block=" + std::to_string(block);
  expect_same(
      {&y},
      [&] {
        cuda::nf4_matmul_forward(y.device(), x.device(), weights.view, with_bias ? bias.device() : nullptr, N,
                                 workspace.device());
        workspace.download();
      },
      [&] {
        plain::nf4_matmul_forward<float>(y.host.data(), x.host.data(), w,
                                         with_bias ? bias.host.data() : nullptr, N, nullptr);
      },
      [&](size_t, int64_t, double want) { return tolerance(in, want); }, "forward " + what);
  expect_same(
      {&dx},
      [&] {
        cuda::nf4_matmul_backward(dx.device(), dy.device(), weights.view, N, workspace.device());
        workspace.download();
      },
      [&] { plain::nf4_matmul_backward<float>(dx.host.data(), dy.host.data(), w, N, nullptr); },
      [&](size_t, int64_t, double want) { return tolerance(out, want); }, "backward " + what);
}

// Rows that begin in the middle of a word or a byte, blocks that run on over their ends.
TEST(CudaNF4Matmul, SmallShapes) {
  for (int64_t N : {0, 1, 4, 5, 8, 9, 13}) {
    for (int64_t out : {1, 3, 9, 33}) {
      for (int64_t in = 1; in <= 34; in += 3) {
        check(N, out, in, 2 + 2 * (in % 5), (N + in) % 2 == 0, out % 2 == 1);
      }
    }
  }
}

TEST(CudaNF4Matmul, RealShapes) {
  check(2, 130, 1100, 64, true, true);
  check(20, 70, 300, 64, true, true);
  check(8, 64, 257, 64, false, false);
}

// Small whole numbers are exact in float: a wrong index cannot hide behind a tolerance.
TEST(CudaNF4Matmul, IntegersAreExact) {
  const int64_t out = 37, in = 75;
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < (out * in + 1) / 2; ++i) codes.push_back(uint8_t(random_word(1, uint64_t(i))));
  std::vector<float> book, absmax;
  for (int i = 0; i < 16; ++i) book.push_back(float(i - 7));
  for (int64_t k = 0; k * 6 < out * in; ++k) absmax.push_back(float(1 + k % 5));
  const OnBoth<uint8_t> device_codes(codes);
  const OnBoth<float> device_book(book), device_absmax(absmax);
  const NF4Weight host{
      .out = out, .in = in, .block = 6, .codes = codes.data(), .book = book.data(), .absmax = absmax.data()};
  NF4Weight device = host;
  device.codes = device_codes.block, device.book = device_book.block, device.absmax = device_absmax.block;
  for (int64_t N : {3, 12}) {
    Both x(N * in), y(N * out, 2), dy(N * out), dx(N * in, 3);
    Both workspace(cuda::nf4_matmul_workspace(host, N) / int64_t(sizeof(float)));
    for (Both* b : {&x, &dy, &dx}) {
      for (size_t i = 0; i < b->host.size(); ++i) b->host[i] = float(int(i * 7 % 13) - 6);
      b->upload();
    }
    const auto exact = [](size_t, int64_t, double) { return 0.0; };
    expect_same(
        {&y},
        [&] { cuda::nf4_matmul_forward(y.device(), x.device(), device, nullptr, N, workspace.device()); },
        [&] { plain::nf4_matmul_forward<float>(y.host.data(), x.host.data(), host, nullptr, N, nullptr); },
        exact, "integers");
    expect_same(
        {&dx}, [&] { cuda::nf4_matmul_backward(dx.device(), dy.device(), device, N, workspace.device()); },
        [&] { plain::nf4_matmul_backward<float>(dx.host.data(), dy.host.data(), host, N, nullptr); }, exact,
        "integers backward");
  }
}

}  // namespace
}  // namespace chalk
