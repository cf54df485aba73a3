// The product with packed integers. Contract and layout: kernels/group_quant_matmul.h.
//
// Few rows of x (decoding): per group,  Σ_k x_k · s(c_k − z) = s · (Σ_k x_k c_k) − s z · Σ_k x_k.  The codes are used as
// they come out of the mask; what the zeros take away needs only the sum of x over each group, once for all outputs.
//
// Many rows (prompts, training): weights are unpacked to floats, a panel that fits the cache at a time, and go through
// the same tile as the float product (kernels/cpu/tile.h). No float copy of the whole weight ever exists.

#include "kernels/group_quant_matmul.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile.h"

namespace chalk::cpu {
namespace {

namespace hn = simd::hn;
using simd::lanes;
using simd::V;
using Weight = GroupQuantWeight;

constexpr hn::RebindToSigned<simd::D> i32;
constexpr hn::Rebind<uint8_t, simd::D> u8;
constexpr hn::Rebind<uint16_t, simd::D> u16;
constexpr hn::Rebind<hwy::float16_t, simd::D> f16;
using Codes = hn::Vec<hn::RebindToSigned<simd::D>>;

constexpr int64_t parts = 16 / lanes;  // vectors of a slice: 1 with AVX-512, 2 with AVX2
constexpr int64_t few_rows = 4;        // up to here unpacking to floats would not pay
constexpr int64_t block_k = 384;       // depth of an unpacked panel: 48 KiB
constexpr int64_t strip = 32;          // columns of dx that one chunk owns
static_assert(lanes <= 16 && strip % tile_columns == 0);

// ---- unpacking ----

// f(s, codes of slice s) for the slices s of the bytes in v.
template <int bits, int s = 0, class F>
HWY_INLINE void each_slice(Codes v, F&& f) {
  constexpr int shift = bits * s;
  Codes codes = v;
  if constexpr (shift > 0) codes = hn::ShiftRight<shift>(codes);
  if constexpr (shift + bits < 8) codes = hn::And(codes, hn::Set(i32, (1 << bits) - 1));
  f(s, hn::ConvertTo(simd::f32, codes));
  if constexpr (shift + bits < 8) each_slice<bits, s + 1>(v, f);
}

HWY_INLINE Codes load_bytes(const uint8_t* bytes) {
  return hn::PromoteTo(i32, hn::LoadU(u8, bytes));
}

// The first `count` ≤ lanes numbers of x, the others 0; nothing behind them is read.
template <class Tag>
HWY_INLINE hn::Vec<Tag> load_up_to(Tag d, const hn::TFromD<Tag>* x, int64_t count) {
  if (count == lanes) return hn::LoadU(d, x);
#if HWY_MEM_OPS_MIGHT_FAULT  // as in simd.h: through the stack
  alignas(64) hn::TFromD<Tag> padded[lanes] = {};
  std::copy_n(x, count, padded);
  return hn::Load(d, padded);
#else
  return hn::MaskedLoad(hn::FirstN(d, size_t(count)), d, x);
#endif
}

// Of up to `lanes` neighbouring groups of row n, one per lane, as floats.
HWY_INLINE V load_scales(const Weight& w, int64_t n, int64_t group, int64_t count) {
  return hn::PromoteTo(simd::f32, hn::BitCast(f16, load_up_to(u16, w.scales + n * w.groups + group, count)));
}
HWY_INLINE V load_zeros(const Weight& w, int64_t n, int64_t group, int64_t count) {
  if (!w.zeros) return simd::set(float(w.zero));
  const auto zeros = load_up_to(u8, w.zeros + n * w.groups + group, count);
  return hn::ConvertTo(simd::f32, hn::PromoteTo(i32, zeros));
}

// y (count) = the weights of row n at positions first … first + count − 1, whole slices.
void unpack(float* y, const Weight& w, int64_t n, int64_t first, int64_t count) {
  const uint8_t* row = w.codes + n * w.row_bytes();
  const int64_t block = w.block();
  for (int64_t p = first; p < first + count; p += 16) {
    const int64_t at = n * w.groups + w.group_at(p);
    const V scale = simd::set(w.unit * half_to_float(w.scales[at]));
    const Codes zero = hn::Set(i32, w.zeros ? int32_t(w.zeros[at]) : w.zero);
    const Codes mask = hn::Set(i32, (1 << w.bits) - 1);
    const int shift = int(w.bits * (p % block / 16));
    for (int64_t part = 0; part < parts; ++part) {
      const Codes v = hn::ShiftRightSame(load_bytes(row + p / block * 16 + part * lanes), shift);
      const V code = hn::ConvertTo(simd::f32, hn::And(v, mask) - zero);
      simd::store(y + (p - first) + part * lanes, scale * code);
    }
  }
}

// ---- x in the order of positions ----

// packed (M, positions) = x (M, K) with zeros at padding; sums (M, groups) = its sums over each group, or null.
void pack_inputs(float* packed, float* sums, const float* x, const Weight& w, int64_t M) {
  const int64_t positions = w.positions();
  parallel_for(M, grain_rows(memory_grain, positions), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      const float* x_m = x + m * w.K;            // (K)
      float* packed_m = packed + m * positions;  // (positions)
      if (w.input_of) {
        for (int64_t p = 0; p < positions; ++p) packed_m[p] = w.input_of[p] < 0 ? 0 : x_m[w.input_of[p]];
      } else {
        std::copy_n(x_m, w.K, packed_m);
        std::fill_n(packed_m + w.K, positions - w.K, 0.0f);
      }
      if (!sums) continue;
      for (int64_t g = 0; g < w.groups; ++g)
        sums[m * w.groups + g] = simd::sum(packed_m + g * w.stride, w.stride);
    }
  });
}

// ---- few rows of x ----

// sums[r][…] += codes of row r · x, over one block. Two chains per row hide the latency of the multiply-add: slices
// alternate, and so do the blocks of 8 bits, which have one slice.
template <int bits, int rows, int chain>
HWY_INLINE void dot_block(V (&sums)[rows][2], const uint8_t* codes, int64_t row_bytes, const float* x) {
  for (int64_t part = 0; part < parts; ++part) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const Codes v = load_bytes(codes + r * row_bytes + part * lanes);
      each_slice<bits>(v, [&](int s, V code) {
        V& sum = sums[r][(s + chain) % 2];
        sum = simd::mul_add(code, simd::load(x + 16 * s + part * lanes), sum);
      });
    }
  }
}

template <int bits, int rows>
HWY_INLINE void dot_blocks(V (&sums)[rows][2], const uint8_t* codes, int64_t row_bytes, const float* x,
                           int64_t count) {
  constexpr int64_t positions = 16 * (8 / bits);
  int64_t b = 0;
  for (; b + 2 <= count; b += 2) {
    dot_block<bits, rows, 0>(sums, codes + b * 16, row_bytes, x + b * positions);
    dot_block<bits, rows, 1>(sums, codes + b * 16 + 16, row_bytes, x + (b + 1) * positions);
  }
  if (b < count) dot_block<bits, rows, 0>(sums, codes + b * 16, row_bytes, x + b * positions);
}

// The same for a group that is a share of one block: its slices are found at run time.
template <int bits, int rows>
HWY_INLINE void dot_slices(V (&sums)[rows][2], const uint8_t* codes, int64_t row_bytes, const float* x,
                           int64_t position, int64_t count) {
  constexpr int64_t positions = 16 * (8 / bits);
  const Codes mask = hn::Set(i32, (1 << bits) - 1);
  for (int64_t p = position; p < position + count; p += 16) {
    const int shift = int(bits * (p % positions / 16));
    for (int64_t part = 0; part < parts; ++part) {
      const V x_p = simd::load(x + p + part * lanes);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const Codes v = load_bytes(codes + r * row_bytes + p / positions * 16 + part * lanes);
        const V code = hn::ConvertTo(simd::f32, hn::And(hn::ShiftRightSame(v, shift), mask));
        sums[r][0] = simd::mul_add(code, x_p, sums[r][0]);
      }
    }
  }
}

// y_n … = [y +] x · ŵ_n … [+ bias] for `rows` neighbouring outputs and one row of x.
template <int bits, int rows>
void dot_rows(float* y, const float* x, const float* group_sums, const Weight& w, int64_t n,
              Epilogue epilogue) {
  constexpr int64_t positions = 16 * (8 / bits);
  const bool whole_blocks = w.stride % positions == 0;
  const int64_t row_bytes = w.row_bytes();
  const uint8_t* codes = w.codes + n * row_bytes;
  V total[rows];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) total[r] = simd::zero();
  for (int64_t first = 0; first < w.groups; first += lanes) {
    const int64_t count = std::min(lanes, w.groups - first);
    alignas(64) float scale[rows][lanes];
    const V x_sum = load_up_to(simd::f32, group_sums + first, count);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const V scales = load_scales(w, n + r, first, count);
      simd::store(scale[r], scales);
      const V scale_zero = scales * load_zeros(w, n + r, first, count);
      total[r] = hn::NegMulAdd(scale_zero, x_sum, total[r]);  // − s z Σ x, one group per lane
    }
    for (int64_t g = first; g < first + count; ++g) {
      V sums[rows][2];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) sums[r][0] = sums[r][1] = simd::zero();
      if (whole_blocks) {
        const int64_t block = g * w.stride / positions;
        dot_blocks<bits, rows>(sums, codes + block * 16, row_bytes, x + g * w.stride, w.stride / positions);
      } else {
        dot_slices<bits, rows>(sums, codes, row_bytes, x, g * w.stride, w.stride);
      }
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        total[r] = simd::mul_add(simd::set(scale[r][g - first]), sums[r][0] + sums[r][1], total[r]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    float sum = w.unit * simd::sum_of_lanes(total[r]);
    if (epilogue.bias) sum += epilogue.bias[n + r];
    y[n + r] = epilogue.add ? y[n + r] + sum : sum;
  }
}

template <int bits>
void few_rows_product(float* y, const float* packed, const float* sums, const Weight& w, int64_t M,
                      Epilogue epilogue) {
  const int64_t positions = w.positions(), grain = 4 * grain_rows(memory_grain / 4, positions / 4);
  parallel_for(w.N, grain, [&](int64_t begin, int64_t end) {
    for (int64_t m = 0; m < M; ++m) {  // the chunk's codes come from the cache after the first row
      const float* x = packed + m * positions;
      const float* x_sums = sums + m * w.groups;
      int64_t n = begin;
      for (; n + 4 <= end; n += 4) dot_rows<bits, 4>(y + m * w.N, x, x_sums, w, n, epilogue);
      for (; n < end; ++n) dot_rows<bits, 1>(y + m * w.N, x, x_sums, w, n, epilogue);
    }
  });
}

// ---- many rows of x ----

// y (M, N) = [y +] packed (M, positions) · Ŵᵀ: a chunk is a panel of tile_columns outputs.
void many_rows_product(float* y, const float* packed, const Weight& w, int64_t M, Epilogue epilogue) {
  const int64_t positions = w.positions(), panels = (w.N + tile_columns - 1) / tile_columns;
  parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
    alignas(64) float rows[tile_columns * block_k], panel[block_k * tile_columns];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i * tile_columns, columns = std::min(tile_columns, w.N - n);
      for (int64_t k = 0; k < positions; k += block_k) {
        const int64_t K = std::min(block_k, positions - k);
        for (int64_t c = 0; c < columns; ++c) unpack(rows + c * block_k, w, n + c, k, K);
        pack_panel(panel, View{rows, 1, block_k}, K, columns);
        const Epilogue here = k == 0 ? Epilogue{epilogue.add, epilogue.bias ? epilogue.bias + n : nullptr}
                                     : Epilogue{true, nullptr};
        for (int64_t m = 0; m < M; m += tile_rows) {
          multiply_edge_tile(y + m * w.N + n, w.N, View{packed + m * positions + k, positions, 1}, panel, K,
                             std::min(tile_rows, M - m), columns, here);
        }
      }
    }
  });
}

}  // namespace

int64_t group_quant_matmul_workspace(const Weight& w, int64_t M) {
  return M * (w.positions() + (w.groups + 15) / 16 * 16) * int64_t(sizeof(float));
}

void group_quant_matmul(float* y, const float* x, const Weight& w, const float* bias, int64_t M,
                        bool accumulate, float* workspace) {
  if (M == 0 || w.N == 0) return;
  float* sums = workspace + M * w.positions();  // (M, groups)
  const bool few = M <= few_rows;
  pack_inputs(workspace, few ? sums : nullptr, x, w, M);
  const Epilogue epilogue = {accumulate, bias};
  if (!few) {
    many_rows_product(y, workspace, w, M, epilogue);
  } else if (w.bits == 4) {
    few_rows_product<4>(y, workspace, sums, w, M, epilogue);
  } else if (w.bits == 8) {
    few_rows_product<8>(y, workspace, sums, w, M, epilogue);
  } else if (w.bits == 2) {
    few_rows_product<2>(y, workspace, sums, w, M, epilogue);
  } else {
    few_rows_product<1>(y, workspace, sums, w, M, epilogue);
  }
}

// dx (M, K) += dy (M, N) · Ŵ: a chunk is a strip of positions. The sum over n is never split.
void group_quant_matmul_dx(float* dx, const float* dy, const Weight& w, int64_t M, float* workspace) {
  const int64_t positions = w.positions(), strips = (positions + strip - 1) / strip;
  if (M == 0 || w.N == 0) return;
  parallel_for(strips, 1, [&](int64_t begin, int64_t end) {
    alignas(64) float rows[block_k * strip], panel[block_k * tile_columns];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t p = i * strip, width = std::min(strip, positions - p);
      for (int64_t n = 0; n < w.N; n += block_k) {
        const int64_t N = std::min(block_k, w.N - n);
        for (int64_t r = 0; r < N; ++r) unpack(rows + r * strip, w, n + r, p, width);
        for (int64_t c = 0; c < width; c += tile_columns) {
          const int64_t columns = std::min(tile_columns, width - c);
          pack_panel(panel, View{rows + c, strip, 1}, N, columns);
          for (int64_t m = 0; m < M; m += tile_rows) {
            multiply_edge_tile(workspace + m * positions + p + c, positions, View{dy + m * w.N + n, w.N, 1},
                               panel, N, std::min(tile_rows, M - m), columns, Epilogue{n > 0, nullptr});
          }
        }
      }
    }
  });
  parallel_for(M, grain_rows(memory_grain, positions), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      for (int64_t p = 0; p < positions; ++p) {
        const int64_t k = w.input_at(p);
        if (k >= 0) dx[m * w.K + k] += workspace[m * positions + p];
      }
    }
  });
}

}  // namespace chalk::cpu
