// Matrix product with SIMD, in the manner of BLIS (Van Zee & van de Geijn 2015). Contract: kernels/matmul.h.
//
// The product is cut into blocks of at most block_k x block_n numbers of op(b). Each block is packed into
// panels of tile_columns columns (kernels/cpu/tile.h), which makes all transposes alike; then tiles of y are
// computed, panel by panel, so that a panel stays in the first-level cache and a block of rows of op(a) in
// the second. Threads share the tiles of y. The sum over k is never split between threads: each number of y
// is always added up in the same order.
//
// Less precise operands: a is copied rounded, b is rounded on its way through (panels after packing, few rows in registers); the
// loops are the same. This emulates bf16 and tf32 on any processor: it is exact, and a little slower than float32.

#include "kernels/matmul.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/precision.h"
#include "kernels/cpu/tile.h"

namespace chalk::cpu {

static constexpr int64_t block_k = 384;             // a panel of 384 x 32 numbers: 48 KiB
static constexpr int64_t block_n = 2048;            // a packed block: at most 3 MiB
static constexpr int64_t block_m = 32 * tile_rows;  // rows of op(a) that stay in the second-level cache
static constexpr int64_t dot_group = 8;             // rows of a that meet a row of b at once
static constexpr int64_t few_rows = 32;  // up to here b (N, K) is read as it lies: packing would not pay

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Cuts `size` into equal steps of at most `largest`.
static int64_t even_step(int64_t size, int64_t largest) {
  return ceil_div(size, ceil_div(size, largest));
}

static bool has_few_rows(const MatmulShape& s) {
  return s.M <= few_rows && !s.transpose_a;
}

static int64_t packed_floats(const MatmulShape& s) {
  if (has_few_rows(s)) return 0;
  const int64_t panels = ceil_div(std::min(s.N, block_n), tile_columns);
  return panels * tile_columns * std::min(s.K, block_k);
}

int64_t matmul_workspace(const MatmulShape& s) {
  if (s.M == 0 || s.N == 0 || s.K == 0) return 0;
  const int64_t rounded_a = s.precision == Precision::FP32 ? 0 : s.M * s.K;
  return (packed_floats(s) + rounded_a) * int64_t(sizeof(float));
}

// y (M, N) = [y +] a (M, K) · packed (K, N) [+ bias], for one packed block. y rows are y_width long.
static void multiply_block(float* y, int64_t y_width, View a, const float* packed, int64_t M, int64_t N,
                           int64_t K, Epilogue epilogue) {
  const int64_t panels = ceil_div(N, tile_columns), row_tiles = ceil_div(M, tile_rows);
  const int64_t block_tiles = block_m / tile_rows;
  // Tiles in the order: block of rows, panel, tile of rows. A chunk is 768 · 12 · 32 multiply-adds or more: 3
  // µs.
  const int64_t grain = std::max<int64_t>(1, 768 / K);
  parallel_for(row_tiles * panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first_tile = i / (block_tiles * panels) * block_tiles;
      const int64_t tiles = std::min(block_tiles, row_tiles - first_tile);
      const int64_t in_block = i - first_tile * panels;
      const int64_t n = in_block / tiles * tile_columns, m = (first_tile + in_block % tiles) * tile_rows;
      const Epilogue here = {epilogue.add, epilogue.bias ? epilogue.bias + n : nullptr};
      multiply_edge_tile(y + m * y_width + n, y_width, a.at(m, 0), packed + n * K, K,
                         std::min(tile_rows, M - m), std::min(tile_columns, N - n), here);
    }
  });
}

static void pack_block(float* packed, View b, int64_t N, int64_t K, Precision precision) {
  const int64_t panels = ceil_div(N, tile_columns);
  parallel_for(panels, grain_rows(math_grain, tile_columns * K), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t n = p * tile_columns;
      pack_panel(packed + n * K, b.at(0, n), K, std::min(tile_columns, N - n));
      round_span(packed + n * K, packed + n * K, tile_columns * K, precision);
    }
  });
}

// ---- few rows of a (decoding): b is far larger than a and y, so it is read once, in the order it lies in
// memory.

// b (N, K):  y_mn = [y_mn +] a_m · b_n [+ bias_n] for `outputs` neighbouring n: their sums run side by side.
template <Precision precision, int rows, int outputs>
static void dot_rows(float* y, const float* a, const float* b, int64_t N, int64_t K, Epilogue epilogue) {
  simd::V sums[rows][outputs];
  for (int m = 0; m < rows; ++m) {
    for (int n = 0; n < outputs; ++n) sums[m][n] = simd::zero();
  }
  simd::over_span(K, [&](int64_t k, auto part) {
    simd::V b_n[outputs];
#pragma GCC unroll 4
    for (int n = 0; n < outputs; ++n) b_n[n] = rounded<precision>(part.load(b + n * K + k));
#pragma GCC unroll 8
    for (int m = 0; m < rows; ++m) {
      const simd::V a_m = part.load(a + m * K + k);
#pragma GCC unroll 4
      for (int n = 0; n < outputs; ++n) sums[m][n] = simd::mul_add(a_m, b_n[n], sums[m][n]);
    }
  });
#pragma GCC unroll 8
  for (int m = 0; m < rows; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < outputs; ++n) {
      float sum = simd::sum_of_lanes(sums[m][n]);
      if (epilogue.bias) sum += epilogue.bias[n];
      y[m * N + n] = epilogue.add ? y[m * N + n] + sum : sum;
    }
  }
}

// Rows of a against the rows begin ≤ n < end of b.
template <Precision precision, int rows>
static void dot_group_rows(float* y, const float* a, const float* b, int64_t begin, int64_t end, int64_t N,
                           int64_t K, Epilogue epilogue) {
  constexpr int outputs = rows <= 4 ? 4 : 2;
  const auto from = [&](int64_t n) {
    return Epilogue{epilogue.add, epilogue.bias ? epilogue.bias + n : nullptr};
  };
  int64_t n = begin;
  for (; n + outputs <= end; n += outputs)
    dot_rows<precision, rows, outputs>(y + n, a, b + n * K, N, K, from(n));
  for (; n < end; ++n) dot_rows<precision, rows, 1>(y + n, a, b + n * K, N, K, from(n));
}

// b (N, K): a chunk of its rows is fetched once; after the first group of rows of a it comes from the cache.
template <Precision precision>
static void few_rows_transposed(float* y, const float* a, const float* b, const MatmulShape& s,
                                Epilogue epilogue) {
  using Kernel = void(float*, const float*, const float*, int64_t, int64_t, int64_t, int64_t, Epilogue);
  static constexpr Kernel* kernels[dot_group] = {dot_group_rows<precision, 1>, dot_group_rows<precision, 2>,
                                                 dot_group_rows<precision, 3>, dot_group_rows<precision, 4>,
                                                 dot_group_rows<precision, 5>, dot_group_rows<precision, 6>,
                                                 dot_group_rows<precision, 7>, dot_group_rows<precision, 8>};
  const int64_t grain = 4 * std::max<int64_t>(1, memory_grain / (4 * std::max<int64_t>(1, s.K)));
  parallel_for(s.N, grain, [&](int64_t begin, int64_t end) {
    for (int64_t m = 0; m < s.M; m += dot_group) {
      const int64_t rows = std::min(dot_group, s.M - m);
      kernels[rows - 1](y + m * s.N, a + m * s.K, b, begin, end, s.N, s.K, epilogue);
    }
  });
}

// y += Σ_j a_j · b_j for `count` ≤ 4 neighbouring rows of b, which are N apart.
template <Precision precision>
static void add_scaled_rows(float* y, int64_t width, const float* a, const float* b, int64_t N,
                            int64_t count) {
  using simd::V;
  if (count == 4) {  // y is loaded and stored once for four rows
    const V a0 = simd::set(a[0]), a1 = simd::set(a[1]), a2 = simd::set(a[2]), a3 = simd::set(a[3]);
    const auto f = [&](V b0, V b1, V b2, V b3) {
      return simd::mul_add(a0, rounded<precision>(b0), a1 * rounded<precision>(b1)) +
             simd::mul_add(a2, rounded<precision>(b2), a3 * rounded<precision>(b3));
    };
    simd::add_map(y, width, f, b, b + N, b + 2 * N, b + 3 * N);
    return;
  }
  for (int64_t j = 0; j < count; ++j) {
    const auto f = [&](V b_j) { return simd::set(a[j]) * rounded<precision>(b_j); };
    simd::add_map(y, width, f, b + j * N);
  }
}

// b (K, N): each row of b is added to all rows of y, over a strip of columns that stays in the first-level
// cache.
template <Precision precision>
static void few_rows_plain(float* y, const float* a, const float* b, const MatmulShape& s,
                           Epilogue epilogue) {
  parallel_for(s.N, 256, [&](int64_t begin, int64_t end) {
    const int64_t width = end - begin;
    for (int64_t m = 0; m < s.M; ++m) {
      float* y_m = y + m * s.N + begin;
      if (!epilogue.add) std::fill_n(y_m, width, 0.0f);
      const float one = 1;
      if (epilogue.bias) add_scaled_rows<Precision::FP32>(y_m, width, &one, epilogue.bias + begin, 0, 1);
    }
    for (int64_t k = 0; k < s.K; k += 4) {
      const int64_t count = std::min<int64_t>(4, s.K - k);
      for (int64_t m = 0; m < s.M; ++m) {
        add_scaled_rows<precision>(y + m * s.N + begin, width, a + m * s.K + k, b + k * s.N + begin, s.N,
                                   count);
      }
    }
  });
}

template <Precision precision>
static void few_rows_of(float* y, const float* a, const float* b, const MatmulShape& s, Epilogue epilogue) {
  const auto multiply = s.transpose_b && s.K > 0 ? few_rows_transposed<precision> : few_rows_plain<precision>;
  multiply(y, a, b, s, epilogue);
}

// a, or a rounded copy of it.
static const float* rounded_copy(float* copy, const float* a, int64_t count, Precision precision) {
  if (precision == Precision::FP32) return a;
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    round_span(copy + begin, a + begin, end - begin, precision);
  });
  return copy;
}

void matmul(float* y, const float* a, const float* b, const float* bias, const MatmulShape& s,
            float* workspace) {
  if (s.M == 0 || s.N == 0) return;
  const Epilogue first = {s.accumulate, bias};
  if (s.K > 0) a = rounded_copy(workspace + packed_floats(s), a, s.M * s.K, s.precision);
  if (has_few_rows(s) || s.K == 0) {  // K = 0: y = [y +] bias
    const auto multiply = s.precision == Precision::BF16   ? few_rows_of<Precision::BF16>
                          : s.precision == Precision::TF32 ? few_rows_of<Precision::TF32>
                                                           : few_rows_of<Precision::FP32>;
    multiply(y, a, b, s, first);
    return;
  }
  const View a_view = s.transpose_a ? View{a, 1, s.M} : View{a, s.K, 1};
  const View b_view = s.transpose_b ? View{b, 1, s.K} : View{b, s.N, 1};
  const int64_t step_k = even_step(s.K, block_k);
  for (int64_t n = 0; n < s.N; n += block_n) {
    const int64_t N = std::min(block_n, s.N - n);
    for (int64_t k = 0; k < s.K; k += step_k) {
      const int64_t K = std::min(step_k, s.K - k);
      pack_block(workspace, b_view.at(k, n), N, K, s.precision);
      // The first block of k stores (and adds the bias), the others add to it.
      const Epilogue epilogue =
          k == 0 ? Epilogue{first.add, bias ? bias + n : nullptr} : Epilogue{true, nullptr};
      multiply_block(y + n, s.N, a_view.at(0, k), workspace, s.M, N, K, epilogue);
    }
  }
}

}  // namespace chalk::cpu
