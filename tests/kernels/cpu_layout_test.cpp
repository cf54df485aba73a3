// cpu against plain for the ops that move, turn and add up numbers.

#include "kernels/broadcast.h"
#include "kernels/columns.h"
#include "kernels/embedding.h"
#include "kernels/reduce.h"
#include "kernels/rope.h"
#include "kernels/transpose.h"
#include "tests/kernels/cpu_check.h"

namespace chalk {
namespace {
using test::Buffer;
using test::eps;
using test::expect_same;
using test::for_each_length;

const auto exact = [](size_t, int64_t, double) { return 0.0; };

TEST(CpuLayout, Embedding) {
  const int64_t V = 11;
  for (int64_t C = 1; C <= 2 * cpu::simd::lanes + 1; ++C) {
    for (int64_t N : {0, 1, 7, 300}) {
      Buffer weight(V * C, 1, 1), dy(N * C, 2, 2), y(N * C, 3, 3), dweight(V * C, 1, 4);
      std::vector<int32_t> ids;
      for (int64_t n = 0; n < N; ++n) ids.push_back(int32_t(random_word(5, uint64_t(n)) % V));
      expect_same(
          {&y}, [&] { cpu::embedding_forward(y, weight, ids.data(), N, C); },
          [&] { plain::embedding_forward<float>(y, weight, ids.data(), N, C); }, exact, "embedding");
      // Rows are added in the same order as plain adds them.
      expect_same(
          {&dweight}, [&] { cpu::embedding_backward(dweight, dy, ids.data(), N, V, C); },
          [&] { plain::embedding_backward<float>(dweight, dy, ids.data(), N, V, C); }, exact,
          "embedding_backward");
    }
  }
}

TEST(CpuLayout, Columns) {
  for (int64_t C = 0; C <= 2 * cpu::simd::lanes; ++C) {
    for (int64_t N : {1, 5, 700}) {
      Buffer x(N * (C + 3), 1, 1), y(N * (C + 5), 2, 2);
      expect_same(
          {&y}, [&] { cpu::columns_copy(y, C + 5, 4, x, C + 3, 1, N, C); },
          [&] { plain::columns_copy<float>(y, C + 5, 4, x, C + 3, 1, N, C); }, exact, "columns_copy");
      expect_same(
          {&y}, [&] { cpu::columns_add(y, C + 5, 4, x, C + 3, 1, N, C); },
          [&] { plain::columns_add<float>(y, C + 5, 4, x, C + 3, 1, N, C); }, exact, "columns_add");
    }
  }
}

TEST(CpuLayout, Transpose) {
  for (int64_t M : {1, 3, 4, 5, 16, 33, 70, 129}) {
    for (int64_t N : {1, 2, 4, 7, 17, 64, 100}) {
      const int64_t B = 3;
      Buffer x(B * M * N, 1, 1), y(B * M * N, 2, 2);
      expect_same(
          {&y}, [&] { cpu::transpose_forward(y, x, B, M, N); },
          [&] { plain::transpose_forward<float>(y, x, B, M, N); }, exact, "transpose");
      expect_same(
          {&y}, [&] { cpu::transpose_backward(y, x, B, M, N); },
          [&] { plain::transpose_backward<float>(y, x, B, M, N); }, exact, "transpose_backward");
    }
  }
}

TEST(CpuLayout, Rope) {
  for (int64_t D = 2; D <= 4 * cpu::simd::lanes; D += 2) {
    for (bool interleaved : {false, true}) {
      const int64_t B = 2, T = D == 32 ? 200 : 5, H = 3;
      Buffer x(B * T * H * D, D / 2 % 4, 1), y(B * T * H * D, 1, 2), cos(T * D / 2, 2, 3),
          sin(T * D / 2, 3, 4);
      std::vector<double> frequencies(size_t(D / 2));
      std::vector<int32_t> positions;
      for (int64_t t = 0; t < T; ++t) positions.push_back(int32_t(7 * t));
      rope_frequencies(frequencies.data(), D, 10000, {});
      rope_table(cos, sin, positions.data(), T, frequencies.data(), D);
      // Two products and a sum of numbers below 5, plus the addition into dx.
      const auto tolerance = [](size_t, int64_t, double) { return 2 * eps * 10; };
      expect_same(
          {&y}, [&] { cpu::rope_forward(y, x, cos, sin, B, T, H, D, interleaved); },
          [&] { plain::rope_forward<float>(y, x, cos, sin, B, T, H, D, interleaved); }, tolerance, "rope");
      expect_same(
          {&y}, [&] { cpu::rope_backward(y, x, cos, sin, B, T, H, D, interleaved); },
          [&] { plain::rope_backward<float>(y, x, cos, sin, B, T, H, D, interleaved); }, tolerance,
          "rope_backward");
    }
  }
}

TEST(CpuLayout, Sums) {
  for_each_length([](int64_t n, int64_t misalignment) {
    Buffer x(n, misalignment, 1), y(1, 0, 2);
    const double norm1 = [&] {
      double sum = 0;
      for (float v : x.numbers()) sum += std::abs(v);
      return sum;
    }();
    // 64 running sums of n/64 numbers each (at most 256 before a chunk ends): relative error of Σ|x| below
    // eps/2 · (256 + 8).
    const double steps = std::min<double>(double(n) / 64, 256) + 8;
    expect_same(
        {&y}, [&] { cpu::sum(y, x, n); }, [&] { plain::sum<float>(y, x, n); },
        [&](size_t, int64_t, double) { return eps / 2 * steps * norm1; }, "sum");
    expect_same(
        {&y}, [&] { cpu::sum_squares(y, x, n); }, [&] { plain::sum_squares<float>(y, x, n); },
        [&](size_t, int64_t, double want) { return eps / 2 * (steps + 2) * want; }, "sum_squares");
    Buffer dx(n, misalignment, 3);
    expect_same(
        {&dx}, [&] { cpu::sum_backward(dx, x, 0.5f, n); },
        [&] {
          if (n > 0) plain::sum_backward<float>(dx, x, 0.5f, n);
        },
        exact, "sum_backward");
  });
}

TEST(CpuLayout, SumRows) {
  for (int64_t C = 1; C <= 2 * cpu::simd::lanes; ++C) {
    for (int64_t N : {0, 1, 3, 4, 6, 1000}) {
      Buffer x(N * C, 1, 1), y(C, 2, 2);
      // Four running sums of N/4 numbers below 5.
      expect_same(
          {&y}, [&] { cpu::sum_rows(y, x, N, C); }, [&] { plain::sum_rows<float>(y, x, N, C); },
          [&](size_t, int64_t, double want) {
            return eps * (5 * double(N) * (double(N) / 4 + 2) / 8 + std::abs(want) + 5);
          },
          "sum_rows");
    }
  }
}

// The strides of a tensor of these dims inside y: 0 where it is stretched.
BroadcastShape broadcast_shape(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  BroadcastShape s;
  int64_t a_step = 1, b_step = 1;
  for (int i = 3; i >= 0; --i) {
    s.dim[i] = std::max(a[size_t(i)], b[size_t(i)]);
    s.a_stride[i] = a[size_t(i)] == 1 ? 0 : a_step;
    s.b_stride[i] = b[size_t(i)] == 1 ? 0 : b_step;
    a_step *= a[size_t(i)];
    b_step *= b[size_t(i)];
  }
  return s;
}

int64_t volume(const std::vector<int64_t>& dims) {
  return dims[0] * dims[1] * dims[2] * dims[3];
}

TEST(CpuLayout, Broadcast) {
  const std::vector<std::vector<std::vector<int64_t>>> cases = {
      {{1, 1, 1, 1}, {1, 1, 1, 1}},         {{2, 3, 4, 5}, {2, 3, 4, 5}},   {{1, 1, 40, 33}, {1, 1, 1, 33}},
      {{1, 1, 1, 33}, {1, 1, 40, 33}},      {{2, 3, 4, 1}, {2, 3, 4, 17}},  {{1, 3, 1, 19}, {2, 1, 4, 1}},
      {{2, 1, 4, 1}, {1, 3, 1, 1}},         {{1, 1, 1, 1}, {2, 3, 4, 37}},  {{4, 1, 50, 70}, {1, 6, 50, 1}},
      {{1, 1, 1, 50000}, {1, 1, 1, 50000}}, {{2, 1, 1, 18}, {2, 5, 3, 18}},
  };
  for (const auto& dims : cases) {
    const BroadcastShape s = broadcast_shape(dims[0], dims[1]);
    const int64_t size_a = volume(dims[0]), size_b = volume(dims[1]),
                  size_y = s.dim[0] * s.dim[1] * s.dim[2] * s.dim[3];
    Buffer a(size_a, 1, 1), b(size_b, 2, 2), y(size_y, 3, 3), dy(size_y, 1, 4), da(size_a, 2, 5),
        db(size_b, 3, 6);
    expect_same(
        {&y}, [&] { cpu::add_forward(y, a, b, s); }, [&] { plain::add_forward<float>(y, a, b, s); }, exact,
        "add");
    expect_same(
        {&y}, [&] { cpu::mul_forward(y, a, b, s); }, [&] { plain::mul_forward<float>(y, a, b, s); }, exact,
        "mul");
    for (int mask = 0; mask < 4; ++mask) {
      float *to_a = mask & 1 ? da.data() : nullptr, *to_b = mask & 2 ? db.data() : nullptr;
      // An entry of da meets n = size_y / size_a terms below 5 · 5, added one after the other.
      const auto tolerance = [&](size_t o, int64_t, double) {
        const double n = double(size_y) / double(o == 0 ? size_a : size_b);
        return eps * n * std::sqrt(n) * 25;
      };
      expect_same(
          {&da, &db}, [&] { cpu::add_backward(to_a, to_b, dy, s); },
          [&] { plain::add_backward<float>(to_a, to_b, dy, s); }, tolerance, "add_backward");
      expect_same(
          {&da, &db}, [&] { cpu::mul_backward(to_a, to_b, dy, a, b, s); },
          [&] { plain::mul_backward<float>(to_a, to_b, dy, a, b, s); }, tolerance, "mul_backward");
    }
  }
}

}  // namespace
}  // namespace chalk
