// y [+]= x · Ŵᵀ + bias      dx += dy · Ŵ      ŵ_nk = unit · scale_ng · (code_nk − zero_ng)
// Grid: up to 8 rows of x (decoding) forward a warp per row of Ŵ, backward a block per 32 positions; above, Ŵ is widened into the
// workspace, a thread for each 4 bytes of codes, and gemm() multiplies. A lane owns every 32nd 4 bytes of a row: 32/bits codes.
// Bytes: bits/8 a weight for each 4 rows of x; widened, 8 more. Bound: memory bandwidth, less what unpacking and rereading x cost.

#include "kernels/cuda/block.h"
#include "kernels/cuda/gemm.h"
#include "kernels/group_quant_matmul.h"

namespace chalk::cuda {
namespace {

constexpr int64_t few_rows = 8;  // up to here the codes are unpacked in registers and no float weight exists
constexpr int rows_at_once = 4;  // of x: each number of Ŵ is used that often
constexpr int warps = 8;         // of a block

// The scale and the zero of row n, position p.
struct Group {
  float scale;
  int zero;
  __device__ Group(const GroupQuantWeight& w, int64_t n, int64_t p) {
    const int64_t g = uint32_t(p) / uint32_t(w.stride);  // 64-bit division is slow, and rows are short
    const int64_t at = n * w.groups + (g < w.groups ? g : w.groups - 1);
    scale = w.unit * half_to_float(w.scales[at]);
    zero = w.zeros ? w.zeros[at] : w.zero;
  }
};

// f(k, ŵ_nk) for every number in bytes 4 · word … 4 · word + 3 of row n. Positions that no input fills are left out.
template <int bits, class F>
__device__ inline void for_numbers(const GroupQuantWeight& w, int64_t n, int64_t word, F f) {
  constexpr int slices = 8 / bits, mask = (1 << bits) - 1;
  const uint32_t bytes = reinterpret_cast<const uint32_t*>(w.codes + n * w.row_bytes())[word];
  for (int slice = 0; slice < slices; ++slice) {
    const int64_t p = word / 4 * (16 * slices) + slice * 16 + word % 4 * 4;
    const Group group(w, n, p);  // a slice lies in one group
    for (int byte = 0; byte < 4; ++byte) {
      const int64_t k = w.input_at(p + byte);
      const int code = int(bytes >> (8 * byte + bits * slice) & mask);
      if (k >= 0) f(k, group.scale * float(code - group.zero));
    }
  }
}

template <int bits>
__global__ void few_rows_kernel(float* y, const float* x, GroupQuantWeight w, const float* bias, int64_t M,
                                bool accumulate) {
  const int64_t n = int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  const int64_t m0 = int64_t(blockIdx.y) * rows_at_once;
  if (n >= w.N) return;  // a whole warp
  const int lane = threadIdx.x % 32;
  float sum[rows_at_once] = {};
  for (int64_t word = lane; word < w.row_bytes() / 4; word += 32) {
    for_numbers<bits>(w, n, word, [&](int64_t k, float number) {
      // y_mn = Σ_k x_mk · ŵ_nk + bias_n
      for (int m = 0; m < rows_at_once; ++m) {
        if (m0 + m < M) sum[m] += x[(m0 + m) * w.K + k] * number;
      }
    });
  }
  for (int m = 0; m < rows_at_once; ++m) {
    const float total = warp_sum(sum[m]) + (bias ? bias[n] : 0.0f);
    if (lane != 0 || m0 + m >= M) continue;
    float* y_mn = y + (m0 + m) * w.N + n;
    *y_mn = accumulate ? *y_mn + total : total;
  }
}

// A block owns 32 neighbouring positions, one a lane; its warps take every 8th row of Ŵ.
__global__ void few_rows_dx_kernel(float* dx, const float* dy, GroupQuantWeight w, int64_t M) {
  SHARED_ARRAY(float, partial, rows_at_once, warps, 32);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t p = int64_t(blockIdx.x) * 32 + lane, m0 = int64_t(blockIdx.y) * rows_at_once;
  const int64_t k = p < w.positions() ? w.input_at(p) : -1;
  float sum[rows_at_once] = {};
  for (int64_t n = warp; n < w.N && k >= 0; n += warps) {
    const Group group(w, n, p);
    const float number = group.scale * float(w.code(n, p) - group.zero);
    for (int m = 0; m < rows_at_once; ++m) {
      if (m0 + m < M) sum[m] += dy[(m0 + m) * w.N + n] * number;
    }
  }
  for (int m = 0; m < rows_at_once; ++m) partial[m][warp][lane] = sum[m];
  __syncthreads();
  // Warp m adds up row m. dx_mk += Σ_n dy_mn · ŵ_nk
  if (warp >= rows_at_once || m0 + warp >= M || k < 0) return;
  float total = 0;
  for (int other = 0; other < warps; ++other) total += partial[warp][other][lane];
  dx[(m0 + warp) * w.K + k] += total;
}

template <int bits>
__global__ void widen_kernel(float* widened, GroupQuantWeight w) {
  const int64_t words = w.row_bytes() / 4, i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t n = i / words;
  if (n >= w.N) return;
  for_numbers<bits>(w, n, i % words, [&](int64_t k, float number) { widened[n * w.K + k] = number; });
}

template <class Kernel>
Kernel* by_bits(int bits, Kernel* one, Kernel* two, Kernel* four, Kernel* eight) {
  return bits == 1 ? one : bits == 2 ? two : bits == 4 ? four : eight;
}

// Ŵ (N, K) as floats at the start of the workspace. Returns what is left of the workspace.
float* widen(float* workspace, const GroupQuantWeight& w) {
  auto* kernel = by_bits(w.bits, widen_kernel<1>, widen_kernel<2>, widen_kernel<4>, widen_kernel<8>);
  LAUNCH(kernel, unsigned(ceil_divide(w.N * w.row_bytes() / 4, item_threads)), item_threads, 0, stream(),
         workspace, w);
  check_launch("group_quant widen");
  return workspace + ceil_divide(w.N * w.K, 16) * 16;
}

MatmulShape forward_shape(const GroupQuantWeight& w, int64_t M, bool accumulate) {
  return {.M = M, .N = w.N, .K = w.K, .transpose_b = true, .accumulate = accumulate};
}
MatmulShape dx_shape(const GroupQuantWeight& w, int64_t M) {
  return {.M = M, .N = w.K, .K = w.N, .accumulate = true};
}
dim3 few_rows_grid(int64_t blocks, int64_t M) {
  return dim3(unsigned(blocks), unsigned(ceil_divide(M, rows_at_once)));
}

}  // namespace

void group_quant_matmul(float* y, const float* x, const GroupQuantWeight& w, const float* bias, int64_t M,
                        bool accumulate, float* workspace) {
  if (M * w.N == 0) return;
  if (M > few_rows) {
    float* rest = widen(workspace, w);
    matmul(y, x, workspace, bias, forward_shape(w, M, accumulate), rest);
    return;
  }
  auto* kernel =
      by_bits(w.bits, few_rows_kernel<1>, few_rows_kernel<2>, few_rows_kernel<4>, few_rows_kernel<8>);
  LAUNCH(kernel, few_rows_grid(ceil_divide(w.N, warps), M), 32 * warps, 0, stream(), y, x, w, bias, M,
         accumulate);
  check_launch("group_quant_matmul");
}

void group_quant_matmul_dx(float* dx, const float* dy, const GroupQuantWeight& w, int64_t M,
                           float* workspace) {
  if (M * w.N == 0) return;
  if (M > few_rows) {
    float* rest = widen(workspace, w);
    matmul(dx, dy, workspace, nullptr, dx_shape(w, M), rest);
    return;
  }
  LAUNCH(few_rows_dx_kernel, few_rows_grid(ceil_divide(w.positions(), 32), M), 32 * warps, 0, stream(), dx,
         dy, w, M);
  check_launch("group_quant_matmul_dx");
}

int64_t group_quant_matmul_workspace(const GroupQuantWeight& w, int64_t M) {
  if (M <= few_rows) return 0;
  const int64_t widened = ceil_divide(w.N * w.K, 16) * 16 * int64_t(sizeof(float));
  return widened + std::max(gemm_workspace(forward_shape(w, M, false)), gemm_workspace(dx_shape(w, M)));
}

}  // namespace chalk::cuda
