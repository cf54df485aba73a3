// y_mn = Σ_k a_mk · b_kn
// Grid: one block per 64 × 64 tile of y, 256 threads.
// A thread owns 4 × 4 numbers of y, 16 apart in both directions; the block shares 16 columns of a and 16 rows of b at a time.
// Bytes: each number of a is read N/64 times, each of b M/64 times. Bound: shared memory, 8 reads per 16 multiply-adds.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int tile = 64, depth = 16, threads = 256;

// Four numbers of a and four of b, once in registers, make sixteen products: two multiply-adds per read of shared memory
// instead of one half. The larger tile of y comes for free, and with it fewer reads of global memory.
__global__ void register_tiles_kernel(float* y, const float* a, const float* b, MatmulSize s) {
  SHARED_ARRAY(float, a_tile, tile, depth);
  SHARED_ARRAY(float, b_tile, depth, tile);
  const int m0 = blockIdx.y * tile, n0 = blockIdx.x * tile;
  const int row = threadIdx.x / 16, column = threadIdx.x % 16;

  float sum[4][4] = {};  // rows row + 16 i, columns column + 16 j of the tile
  for (int k0 = 0; k0 < s.K; k0 += depth) {
    for (int at = threadIdx.x; at < tile * depth; at += threads) {
      const int m = m0 + at / depth, k = k0 + at % depth;
      a_tile[at / depth][at % depth] = m < s.M && k < s.K ? a[m * s.K + k] : 0.0f;
    }
    for (int at = threadIdx.x; at < depth * tile; at += threads) {
      const int k = k0 + at / tile, n = n0 + at % tile;
      b_tile[at / tile][at % tile] = k < s.K && n < s.N ? b[k * s.N + n] : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < depth; ++k) {
      float a_k[4], b_k[4];
      for (int i = 0; i < 4; ++i) a_k[i] = a_tile[row + 16 * i][k];
      for (int j = 0; j < 4; ++j) b_k[j] = b_tile[k][column + 16 * j];
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) sum[i][j] += a_k[i] * b_k[j];
      }
    }
    __syncthreads();
  }

  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int m = m0 + row + 16 * i, n = n0 + column + 16 * j;
      if (m < s.M && n < s.N) y[m * s.N + n] = sum[i][j];
    }
  }
}

}  // namespace

void matmul_04_register_tiles(float* y, const float* a, const float* b, MatmulSize s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.N, tile)), unsigned(cuda::ceil_divide(s.M, tile)));
  LAUNCH(register_tiles_kernel, grid, threads, 0, cuda::stream(), y, a, b, s);
  cuda::check_launch("matmul_04_register_tiles");
}

}  // namespace chalk::ladder
