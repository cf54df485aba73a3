// y (M, N) [+]= op(a) (M, K) · op(b) (K, N) + bias (N). matmul() uses gemm() (cuBLAS); matmul_by_hand() is the kernel below.
// Grid: one block per 64 × 64 tile of y, 256 threads.
// A block owns a tile of y, a thread 4 × 4 of it, 16 apart in both directions; 16 columns of a and rows of b at a time in shared memory.
// Bytes: each number of a and b is read N/64 and M/64 times. Bound: 16 multiply-adds per 8 shared reads; float32 peak is out of reach.

#include "kernels/cuda/block.h"
#include "kernels/cuda/gemm.h"
#include "kernels/matmul.h"

namespace chalk::cuda {
namespace {

constexpr int tile = 64, depth = 16, tile_threads = 256;

// Rows i0 … i0 + 63 of a matrix (I, K), columns k0 … k0 + 15, rounded, to shared memory as [k][i]; 0 beyond the edges.
// stored_k_first: the matrix lies in memory as (K, I). Neighbouring threads read neighbouring numbers either way.
template <bool stored_k_first>
__device__ inline void load_tile(float (&to)[depth][tile + 1], const float* from, int64_t i0, int64_t k0,
                                 int64_t I, int64_t K, Precision precision) {
  for (int n = threadIdx.x; n < tile * depth; n += tile_threads) {
    const int i = stored_k_first ? n % tile : n / depth;
    const int k = stored_k_first ? n / tile : n % depth;
    const bool inside = i0 + i < I && k0 + k < K;
    const int64_t at = stored_k_first ? (k0 + k) * I + i0 + i : (i0 + i) * K + k0 + k;
    to[k][i] = inside ? rounded(from[at], precision) : 0.0f;
  }
}

template <bool transpose_a, bool transpose_b>
__global__ void matmul_kernel(float* y, const float* a, const float* b, const float* bias, MatmulShape s) {
  SHARED_ARRAY(float, a_tile, depth,
               tile + 1);  // 65 long: reading by columns and by rows both spread over the banks
  SHARED_ARRAY(float, b_tile, depth, tile + 1);
  const int64_t tiles_n = (s.N + tile - 1) / tile;
  const int64_t m0 = blockIdx.x / tiles_n * tile, n0 = blockIdx.x % tiles_n * tile;
  const int row = threadIdx.x / 16, column = threadIdx.x % 16;

  float sum[4][4] = {};  // rows row + 16 i, columns column + 16 j of the tile
  for (int64_t k0 = 0; k0 < s.K; k0 += depth) {
    load_tile<transpose_a>(a_tile, a, m0, k0, s.M, s.K, s.precision);
    load_tile<!transpose_b>(b_tile, b, n0, k0, s.N, s.K, s.precision);
    __syncthreads();
    for (int k = 0; k < depth; ++k) {
      float a_k[4], b_k[4];
      for (int i = 0; i < 4; ++i) a_k[i] = a_tile[k][row + 16 * i];
      for (int j = 0; j < 4; ++j) b_k[j] = b_tile[k][column + 16 * j];
      // y_mn = Σ_k op(a)_mk · op(b)_kn
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) sum[i][j] += a_k[i] * b_k[j];
      }
    }
    __syncthreads();
  }

  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int64_t m = m0 + row + 16 * i, n = n0 + column + 16 * j;
      if (m >= s.M || n >= s.N) continue;
      const float value = sum[i][j] + (bias ? bias[n] : 0.0f);
      y[m * s.N + n] = s.accumulate ? y[m * s.N + n] + value : value;
    }
  }
}

// y_mn += bias_n
__global__ void add_bias_kernel(float* y, const float* bias, int64_t count, int64_t N) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) y[i] += bias[i % N];
}

}  // namespace

void matmul_by_hand(float* y, const float* a, const float* b, const float* bias, const MatmulShape& s,
                    float*) {
  if (s.M * s.N == 0) return;
  auto* kernel = s.transpose_a ? (s.transpose_b ? matmul_kernel<true, true> : matmul_kernel<true, false>)
                               : (s.transpose_b ? matmul_kernel<false, true> : matmul_kernel<false, false>);
  LAUNCH(kernel, unsigned(ceil_divide(s.M, tile) * ceil_divide(s.N, tile)), tile_threads, 0, stream(), y, a,
         b, bias, s);
  check_launch("matmul_by_hand");
}

void matmul(float* y, const float* a, const float* b, const float* bias, const MatmulShape& s,
            float* workspace) {
  if (s.M * s.N == 0) return;
  gemm(y, a, b, s, workspace);
  if (!bias) return;
  LAUNCH(add_bias_kernel, item_blocks(s.M * s.N), item_threads, 0, stream(), y, bias, s.M * s.N, s.N);
  check_launch("add_bias");
}

int64_t matmul_workspace(const MatmulShape& shape) {
  return gemm_workspace(shape);
}

}  // namespace chalk::cuda
