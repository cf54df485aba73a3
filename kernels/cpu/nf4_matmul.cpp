// Products with a 4-bit weight, with SIMD. Contract: kernels/nf4_matmul.h.
//
// The weight is widened to float a panel of tile_columns columns at a time, into the workspace, and multiplied by the tiles
// of matmul (kernels/cpu/tile.h); the whole float matrix never exists. With few rows of x (decoding) each row of the
// weight is widened into a small buffer in the first-level cache, used, and forgotten: memory is read at 4 bits a number.

#include "kernels/nf4_matmul.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile.h"

namespace chalk::cpu {
namespace {
namespace hn = simd::hn;
using simd::V;

constexpr int64_t block_k = 384;   // numbers of the inner axis that are widened at once
constexpr int64_t block_n = 2048;  // columns of op(weight) that are widened at once
constexpr int64_t few_rows = 4;    // up to here the weight is used once per number: packing would not pay
constexpr int64_t buffer_size = 512;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// The code book in registers: with 16 lanes one look-up per vector, with 8 lanes two and a choice.
struct Book {
  const float* numbers;
  V low, high;
  explicit Book(const float* book)
      : numbers(book),
        low(simd::lanes >= 8 ? simd::load(book) : simd::zero()),
        high(simd::lanes == 8 ? simd::load(book + 8) : simd::zero()) {}

  // The numbers of the next `lanes` codes; the first is the high half of bytes[0].
  V look_up(const uint8_t* bytes) const {
    const hn::RebindToSigned<simd::D> i32;
    const hn::Repartition<uint64_t, simd::D> u64;  // one lane per byte: two codes
    const hn::Rebind<uint32_t, decltype(u64)> u32_half;
    const hn::Rebind<uint8_t, decltype(u64)> u8_part;
    const auto pair = hn::PromoteTo(u64, hn::PromoteTo(u32_half, hn::LoadU(u8_part, bytes)));
    const auto even = hn::ShiftRight<4>(pair);                                      // lower 32 bits
    const auto odd = hn::ShiftLeft<32>(hn::And(pair, hn::Set(u64, uint64_t(15))));  // upper 32 bits
    const auto codes = hn::BitCast(i32, hn::Or(even, odd));
    if constexpr (simd::lanes == 16) return hn::TableLookupLanes(low, hn::IndicesFromVec(simd::f32, codes));
    if constexpr (simd::lanes == 8) {
      const auto index = hn::IndicesFromVec(simd::f32, hn::And(codes, hn::Set(i32, 7)));
      const auto is_high = hn::RebindMask(simd::f32, hn::Gt(codes, hn::Set(i32, 7)));
      return hn::IfThenElse(is_high, hn::TableLookupLanes(high, index), hn::TableLookupLanes(low, index));
    }
    return hn::GatherIndex(simd::f32, numbers, codes);
  }
};

// y (count) = numbers first … first + count − 1, all in one block.
void widen_in_block(float* y, const NF4Weight& w, const Book& book, int64_t first, int64_t count,
                    float scale) {
  const auto one = [&](int64_t i) { y[i] = w.book[nf4_code(w.codes, first + i)] * scale; };
  int64_t i = 0;
  if (first % 2 != 0 && count > 0) one(i++);  // from here on, codes begin with a byte
  const V factor = simd::set(scale);
  for (; i + simd::lanes <= count; i += simd::lanes) {
    simd::store(y + i, book.look_up(w.codes + (first + i) / 2) * factor);
  }
  for (; i < count; ++i) one(i);
}

void widen(float* y, const NF4Weight& w, const Book& book, int64_t first, int64_t count) {
  while (count > 0) {
    const int64_t k = first / w.block, n = std::min(count, (k + 1) * w.block - first);
    widen_in_block(y, w, book, first, n, nf4_scale(w, k));
    y += n, first += n, count -= n;
  }
}

// ---- many rows: panels, then tiles ----

// panel (K, tile_columns) of weightᵀ: rows n … n + columns − 1 of the weight, numbers k … k + K − 1 of each, transposed.
// `rows` is scratch of the same size.
void pack_transposed(float* panel, float* rows, const NF4Weight& w, const Book& book, int64_t k, int64_t n,
                     int64_t K, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) widen(rows + c * K, w, book, (n + c) * w.in + k, K);
  pack_panel(panel, View{rows, 1, K}, K, columns);
}

// panel (K, tile_columns) of the weight itself: rows k … k + K − 1, columns n … n + columns − 1.
void pack_plain(float* panel, float* /*rows*/, const NF4Weight& w, const Book& book, int64_t k, int64_t n,
                int64_t K, int64_t columns) {
  if (columns < tile_columns) std::fill_n(panel, K * tile_columns, 0.0f);
  for (int64_t row = 0; row < K; ++row) {
    widen(panel + row * tile_columns, w, book, (k + row) * w.in + n, columns);
  }
}

using Pack = void(float* panel, float* rows, const NF4Weight& w, const Book& book, int64_t k, int64_t n,
                  int64_t K, int64_t columns);

// y (M, N) = [y +] a (M, K) · op(weight) (K, N) [+ bias], a block of at most block_k x block_n of the weight at a time.
void multiply(Pack* pack, float* y, const float* a, const NF4Weight& w, int64_t M, int64_t N, int64_t K,
              Epilogue first, float* workspace) {
  const Book book(w.book);
  const int64_t step_k = std::min(block_k, K), panel_size = tile_columns * step_k;
  const int64_t row_tiles = ceil_div(M, tile_rows);
  for (int64_t n_block = 0; n_block < N; n_block += block_n) {
    const int64_t panels = ceil_div(std::min(block_n, N - n_block), tile_columns);
    const auto columns_of = [&](int64_t p) { return std::min(tile_columns, N - n_block - p * tile_columns); };
    for (int64_t k = 0; k < K; k += step_k) {
      const int64_t K_here = std::min(step_k, K - k);
      parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
          float* panel = workspace + 2 * p * panel_size;
          pack(panel, panel + panel_size, w, book, k, n_block + p * tile_columns, K_here, columns_of(p));
        }
      });
      const int64_t grain = std::max<int64_t>(1, 768 / K_here);
      parallel_for(panels * row_tiles, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t p = i / row_tiles, m = i % row_tiles * tile_rows, n = n_block + p * tile_columns;
          // The first block of k stores (and adds the bias), the others add to it.
          const Epilogue epilogue =
              k > 0 ? Epilogue{true, nullptr} : Epilogue{first.add, first.bias ? first.bias + n : nullptr};
          multiply_edge_tile(y + m * N + n, N, View{a + m * K + k, K, 1}, workspace + 2 * p * panel_size,
                             K_here, std::min(tile_rows, M - m), columns_of(p), epilogue);
        }
      });
    }
  }
}

// ---- few rows ----

// y_no = x_n · weight_o + bias_o, with the row of the weight widened a buffer at a time.
void few_rows_forward(float* y, const float* x, const NF4Weight& w, const float* bias, int64_t N) {
  const Book book(w.book);
  const int64_t in = w.in, out = w.out;
  parallel_for(out, grain_rows(memory_grain, in), [&](int64_t begin, int64_t end) {
    alignas(64) float buffer[buffer_size];
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t n = 0; n < N; ++n) y[n * out + o] = bias ? bias[o] : 0.0f;
      for (int64_t i = 0; i < in; i += buffer_size) {
        const int64_t count = std::min(buffer_size, in - i);
        widen(buffer, w, book, o * in + i, count);
        for (int64_t n = 0; n < N; ++n) y[n * out + o] += simd::dot(x + n * in + i, buffer, count);
      }
    }
  });
}

}  // namespace

int64_t nf4_matmul_workspace(const NF4Weight& w, int64_t N) {
  if (N <= few_rows) return 0;
  const int64_t widest = std::min(std::max(w.out, w.in), block_n);  // columns: out in forward, in in backward
  const int64_t deepest = std::min(std::max(w.out, w.in), block_k);
  return 2 * ceil_div(widest, tile_columns) * tile_columns * deepest * int64_t(sizeof(float));
}

void nf4_matmul_forward(float* y, const float* x, const NF4Weight& weight, const float* bias, int64_t N,
                        float* workspace) {
  if (N <= few_rows) {
    few_rows_forward(y, x, weight, bias, N);
  } else {
    multiply(pack_transposed, y, x, weight, N, weight.out, weight.in, Epilogue{false, bias}, workspace);
  }
}

void nf4_matmul_backward(float* dx, const float* dy, const NF4Weight& weight, int64_t N, float* workspace) {
  if (N <= few_rows) {
    const Book book(weight.book);
    // Strips of columns: each owns its numbers of dx, so that the order of the sum is fixed.
    parallel_for(weight.in, buffer_size, [&](int64_t begin, int64_t end) {
      alignas(64) float buffer[buffer_size];
      for (int64_t o = 0; o < weight.out; ++o) {
        widen(buffer, weight, book, o * weight.in + begin, end - begin);
        for (int64_t n = 0; n < N; ++n) {
          const V factor = simd::set(dy[n * weight.out + o]);
          const auto scaled = [&](V number) { return factor * number; };
          simd::add_map(dx + n * weight.in + begin, end - begin, scaled, buffer);
        }
      }
    });
  } else {
    multiply(pack_plain, dx, dy, weight, N, weight.in, weight.out, Epilogue{true, nullptr}, workspace);
  }
}

void nf4_dequantize(float* y, const NF4Weight& weight, int64_t first, int64_t count) {
  const Book book(weight.book);
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    widen(y + begin, weight, book, first + begin, end - begin);
  });
}

}  // namespace chalk::cpu
