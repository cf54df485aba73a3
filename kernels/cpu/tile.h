#pragma once
// The inner loop of matmul and attention: a tile of y of up to tile_rows x tile_columns numbers, held in
// registers while the sum over k runs.
//
//        k →            tile_columns
//      ┌───────┐  k ┌──────────────────┐
// rows │   A   │  ↓ │ B panel (packed) │
//      └───────┘    └──────────────────┘
//
// For each k: two vectors of B are loaded, one number of A per row is broadcast, and every accumulator takes one
// multiply-add. 12 x 2 of them fill 24 of the 32 AVX-512 registers, which hides the latency of the multiply-add,
// and 14 loads feed 24 multiply-adds.
// A is read where it lies, with any strides; B comes as panels of tile_columns columns, row after row (pack_panel).

#include <hwy/cache_control.h>

#include "kernels/cpu/transpose_block.h"

namespace chalk::cpu {

inline constexpr int64_t tile_rows = simd::lanes >= 16 ? 12 : 6;  // AVX2 has half the registers
inline constexpr int64_t tile_columns = 2 * simd::lanes;

// A matrix seen through two strides: number (i, j) is at x[i · row + j · column].
struct View {
  const float* x;
  int64_t row, column;
  View at(int64_t i, int64_t j) const { return {x + i * row + j * column, row, column}; }
};

// What to do with the finished sums: y = [y +] sums [+ bias].
struct Epilogue {
  bool add;           // to what y holds
  const float* bias;  // (columns of this tile), or null
};

// panel (K, tile_columns) = the first `columns` ≤ tile_columns columns of b (K, ...), padded with zeros.
inline void pack_panel(float* panel, View b, int64_t K, int64_t columns) {
  if (columns < tile_columns) std::fill_n(panel, K * tile_columns, 0.0f);
  if (b.column == 1) {
    for (int64_t k = 0; k < K; ++k) {
      simd::map(
          panel + k * tile_columns, columns, [](simd::V v) { return v; }, b.x + k * b.row);
    }
  } else {  // b.row == 1: stored transposed
    transpose_block(panel, tile_columns, b.x, b.column, columns, K);
  }
}

// One row of the tile leaves the registers: the first `columns` of its one or two vectors.
template <int vectors>
HWY_INLINE void store_tile_row(float* y, const simd::V* sums, int64_t columns, Epilogue epilogue) {
  const auto finish = [&](int64_t c, simd::V sum, auto part) {
    if (epilogue.bias) sum = sum + part.load(epilogue.bias + c);
    if (epilogue.add) sum = sum + part.load(y + c);
    part.store(y + c, sum);
  };
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) {
    const int64_t c = v * simd::lanes;
    if (columns - c >= simd::lanes) {
      finish(c, sums[v], simd::Whole{});
    } else {
      finish(c, sums[v], simd::Part{columns - c});
    }
  }
}

// y (rows, columns) = [y +] a (rows, K) · panel (K, columns) [+ bias].
template <int rows, int vectors>
void multiply_tile(float* y, int64_t y_width, View a, const float* panel, int64_t K, int64_t columns,
                   Epilogue epilogue) {
  using simd::V;
  V sums[rows][vectors];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[m][v] = simd::zero();
  }
  // x86 addresses base + 4 · index and base + 8 · index for free: three rows share one moving pointer.
  constexpr int groups = (rows + 2) / 3;
  const float* a_group[groups];
#pragma GCC unroll 6
  for (int g = 0; g < groups; ++g) a_group[g] = a.x + 3 * g * a.row;

    // y is needed last but comes from farthest away: ask for it now.
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) {
    hwy::Prefetch(y + m * y_width);
    hwy::Prefetch(y + m * y_width + columns - 1);
  }

  for (int64_t k = 0; k < K; ++k) {
    V b[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) b[v] = simd::load(panel + v * simd::lanes);
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) {
      const V a_mk = simd::set(a_group[m / 3][m % 3 * a.row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sums[m][v] = simd::mul_add(a_mk, b[v], sums[m][v]);
    }
#pragma GCC unroll 6
    for (int g = 0; g < groups; ++g) a_group[g] += a.column;
    panel += tile_columns;
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) store_tile_row<vectors>(y + m * y_width, sums[m], columns, epilogue);
}

// The same for a number of rows and columns known only at run time.
template <int rows = tile_rows>
void multiply_edge_tile(float* y, int64_t y_width, View a, const float* panel, int64_t K, int64_t row_count,
                        int64_t columns, Epilogue epilogue) {
  if constexpr (rows > 1) {
    if (row_count < rows) {
      multiply_edge_tile<rows - 1>(y, y_width, a, panel, K, row_count, columns, epilogue);
      return;
    }
  }
  const auto multiply = columns > simd::lanes ? multiply_tile<rows, 2> : multiply_tile<rows, 1>;
  multiply(y, y_width, a, panel, K, columns, epilogue);
}

}  // namespace chalk::cpu
