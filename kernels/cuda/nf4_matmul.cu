// y = x · weightᵀ + bias      dx += dy · weight      weight_i = book[code_i] · scale_⌊i / block⌋
// Grid: up to 8 rows of x (decoding) forward a warp per row of the weight, backward a block per 32 columns; above, the weight is
// widened into the workspace, a thread for each 4 bytes of codes, and gemm() multiplies. A lane owns every 32nd 4 bytes: 8 codes.
// Bytes: half a byte a weight for each 4 rows of x; widened, 8 more. Bound: memory bandwidth, less what looking up and rereading x cost.

#include "kernels/cuda/block.h"
#include "kernels/cuda/gemm.h"
#include "kernels/nf4_matmul.h"

namespace chalk::cuda {
namespace {

constexpr int64_t few_rows = 8;  // up to here the codes are looked up in registers and no float weight exists
constexpr int rows_at_once = 4;  // of x: each number of the weight is used that often
constexpr int warps = 8;         // of a block

// nf4_scale(), one rounding per operation: nvcc would fuse the product and the sum.
__device__ inline float scale_of(const NF4Weight& w, int64_t k) {
  if (w.absmax) return w.absmax[k];
  return __fadd_rn(__fmul_rn(w.map[w.absmax_codes[k]], w.absmax_scales[k / w.absmax_block]), w.absmax_mean);
}

// Bytes 4 · word … 4 · word + 3 of the codes; 0 behind the last.
__device__ inline uint32_t word_of(const NF4Weight& w, int64_t word) {
  const int64_t bytes = (w.out * w.in + 1) / 2;
  if (4 * word + 4 <= bytes) return reinterpret_cast<const uint32_t*>(w.codes)[word];
  uint32_t result = 0;
  for (int64_t b = 4 * word; b < bytes; ++b) result |= uint32_t(w.codes[b]) << (8 * (b % 4));
  return result;
}

// f(i, weight_i) for the numbers i of a word, 8 · word … 8 · word + 7, that lie in first … end − 1.
template <class F>
__device__ inline void for_numbers(const NF4Weight& w, const float* book, int64_t word, int64_t first,
                                   int64_t end, F f) {
  const uint32_t bytes = word_of(w, word);
  int64_t k = 8 * word / w.block, block_end = (k + 1) * w.block;
  float scale = scale_of(w, k);
  for (int j = 0; j < 8 && 8 * word + j < end; ++j) {
    const int64_t i = 8 * word + j;
    if (i == block_end) {
      scale = scale_of(w, ++k);
      block_end += w.block;
    }
    const uint32_t code = bytes >> (4 * (j ^ 1)) & 15;  // of two in a byte the even one is in the high half
    if (i >= first) f(i, __fmul_rn(book[code], scale));
  }
}

// The book in shared memory: 16 numbers in 16 banks, so that lanes with different codes do not wait for each other.
__device__ inline const float* shared_book(const NF4Weight& w) {
  SHARED_ARRAY(float, book, 16);
  if (threadIdx.x < 16) book[threadIdx.x] = w.book[threadIdx.x];
  __syncthreads();
  return book;
}

__global__ void few_rows_kernel(float* y, const float* x, NF4Weight w, const float* bias, int64_t N) {
  const float* book = shared_book(w);
  const int64_t o = int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  const int64_t n0 = int64_t(blockIdx.y) * rows_at_once;
  if (o >= w.out) return;  // a whole warp
  const int lane = threadIdx.x % 32;
  const int64_t first = o * w.in, end = first + w.in;
  float sum[rows_at_once] = {};
  for (int64_t word = first / 8 + lane; 8 * word < end; word += 32) {
    for_numbers(w, book, word, first, end, [&](int64_t i, float number) {
      // y_no = Σ_i x_ni · weight_oi + bias_o
      for (int n = 0; n < rows_at_once; ++n) {
        if (n0 + n < N) sum[n] += x[(n0 + n) * w.in + i - first] * number;
      }
    });
  }
  for (int n = 0; n < rows_at_once; ++n) {
    const float total = warp_sum(sum[n]) + (bias ? bias[o] : 0.0f);
    if (lane == 0 && n0 + n < N) y[(n0 + n) * w.out + o] = total;
  }
}

// A block owns 32 neighbouring columns, one a lane; its warps take every 8th row of the weight.
__global__ void few_rows_backward_kernel(float* dx, const float* dy, NF4Weight w, int64_t N) {
  SHARED_ARRAY(float, partial, rows_at_once, warps, 32);
  const float* book = shared_book(w);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t column = int64_t(blockIdx.x) * 32 + lane, n0 = int64_t(blockIdx.y) * rows_at_once;
  float sum[rows_at_once] = {};
  for (int64_t o = warp; o < w.out && column < w.in; o += warps) {
    const int64_t i = o * w.in + column;
    const float number = book[nf4_code(w.codes, i)] * scale_of(w, i / w.block);
    for (int n = 0; n < rows_at_once; ++n) {
      if (n0 + n < N) sum[n] += dy[(n0 + n) * w.out + o] * number;
    }
  }
  for (int n = 0; n < rows_at_once; ++n) partial[n][warp][lane] = sum[n];
  __syncthreads();
  // Warp n adds up row n. dx_ni += Σ_o dy_no · weight_oi
  if (warp >= rows_at_once || n0 + warp >= N || column >= w.in) return;
  float total = 0;
  for (int other = 0; other < warps; ++other) total += partial[warp][other][lane];
  dx[(n0 + warp) * w.in + column] += total;
}

__global__ void widen_kernel(float* y, NF4Weight w, int64_t first, int64_t count) {
  const float* book = shared_book(w);
  const int64_t word = first / 8 + int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (8 * word >= first + count) return;
  for_numbers(w, book, word, first, first + count, [&](int64_t i, float number) { y[i - first] = number; });
}

// The weight (out, in) as floats at the start of the workspace. Returns what is left of the workspace.
float* widen(float* workspace, const NF4Weight& w) {
  nf4_dequantize(workspace, w, 0, w.out * w.in);
  return workspace + ceil_divide(w.out * w.in, 16) * 16;
}

MatmulShape forward_shape(const NF4Weight& w, int64_t N) {
  return {.M = N, .N = w.out, .K = w.in, .transpose_b = true};
}
MatmulShape backward_shape(const NF4Weight& w, int64_t N) {
  return {.M = N, .N = w.in, .K = w.out, .accumulate = true};
}
dim3 few_rows_grid(int64_t blocks, int64_t N) {
  return dim3(unsigned(blocks), unsigned(ceil_divide(N, rows_at_once)));
}

}  // namespace

void nf4_matmul_forward(float* y, const float* x, const NF4Weight& w, const float* bias, int64_t N,
                        float* workspace) {
  if (N == 0) return;
  if (N > few_rows) {
    float* rest = widen(workspace, w);
    matmul(y, x, workspace, bias, forward_shape(w, N), rest);
    return;
  }
  LAUNCH(few_rows_kernel, few_rows_grid(ceil_divide(w.out, warps), N), 32 * warps, 0, stream(), y, x, w, bias,
         N);
  check_launch("nf4_matmul_forward");
}

void nf4_matmul_backward(float* dx, const float* dy, const NF4Weight& w, int64_t N, float* workspace) {
  if (N == 0) return;
  if (N > few_rows) {
    float* rest = widen(workspace, w);
    matmul(dx, dy, workspace, nullptr, backward_shape(w, N), rest);
    return;
  }
  LAUNCH(few_rows_backward_kernel, few_rows_grid(ceil_divide(w.in, 32), N), 32 * warps, 0, stream(), dx, dy,
         w, N);
  check_launch("nf4_matmul_backward");
}

void nf4_dequantize(float* y, const NF4Weight& w, int64_t first, int64_t count) {
  if (count == 0) return;
  const int64_t words = (first + count - 1) / 8 - first / 8 + 1;
  LAUNCH(widen_kernel, unsigned(ceil_divide(words, item_threads)), item_threads, 0, stream(), y, w, first,
         count);
  check_launch("nf4_dequantize");
}

int64_t nf4_matmul_workspace(const NF4Weight& w, int64_t N) {
  if (N <= few_rows) return 0;
  const int64_t widened = ceil_divide(w.out * w.in, 16) * 16 * int64_t(sizeof(float));
  return widened + std::max(gemm_workspace(forward_shape(w, N)), gemm_workspace(backward_shape(w, N)));
}

}  // namespace chalk::cuda
