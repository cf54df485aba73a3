// y_mn = Σ_k a_mk · b_kn      (K and N multiples of 4)
// Grid: one block per 64 × 128 tile of y, 128 threads: 2 × 2 warps.
// A warp owns a compact 32 × 64 piece of it, a lane 8 × 8 numbers of that: two fours of rows times two fours of columns.
// Bytes: each number of a is read N/128 times, each of b M/64 times. Bound: arithmetic, 4 shared reads per 64 multiply-adds.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/four.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int tile_M = 64, tile_N = 128, depth = 16, threads = 128;
constexpr int warp_M = 32, warp_N = 64;
constexpr int a_stride = tile_M + 4;  // see 05

// 16 columns of a (transposed) and 16 rows of b to shared memory, in fours; 0 beyond the edges.
__device__ inline void load_tiles(float (&a_tile)[depth][a_stride], float (&b_tile)[depth][tile_N],
                                  const float* a, const float* b, int m0, int n0, int k0, MatmulSize s) {
  const float4 zero = make_float4(0, 0, 0, 0);
  for (int at = threadIdx.x; at < tile_M * depth / 4; at += threads) {
    const int row = at / (depth / 4), column = at % (depth / 4) * 4, m = m0 + row, k = k0 + column;
    const float4 a4 = m < s.M && k < s.K ? load4(a + m * s.K + k) : zero;
    a_tile[column][row] = a4.x;
    a_tile[column + 1][row] = a4.y;
    a_tile[column + 2][row] = a4.z;
    a_tile[column + 3][row] = a4.w;
  }
  for (int at = threadIdx.x; at < depth * tile_N / 4; at += threads) {
    const int row = at / (tile_N / 4), column = at % (tile_N / 4) * 4, k = k0 + row, n = n0 + column;
    store4(&b_tile[row][column], k < s.K && n < s.N ? load4(b + k * s.N + n) : zero);
  }
}

// Between the block and the thread stands the warp, whose 32 lanes read shared memory together. Arranged 4 × 8 over a
// compact piece, they ask for few different numbers; and a lane's 8 × 8 products use each of them eight times.
__global__ void warp_tiles_kernel(float* y, const float* a, const float* b, MatmulSize s) {
  SHARED_ARRAY(float, a_tile, depth, a_stride);
  SHARED_ARRAY(float, b_tile, depth, tile_N);
  const int m0 = blockIdx.y * tile_M, n0 = blockIdx.x * tile_N;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row = warp / 2 * warp_M + lane / 8 * 4;     // rows row + i and row + 16 + i, i < 4
  const int column = warp % 2 * warp_N + lane % 8 * 4;  // columns column + j and column + 32 + j, j < 4

  float sum[8][8] = {};
  for (int k0 = 0; k0 < s.K; k0 += depth) {
    load_tiles(a_tile, b_tile, a, b, m0, n0, k0, s);
    __syncthreads();
    for (int k = 0; k < depth; ++k) {
      const float4 x0 = load4(&a_tile[k][row]), x1 = load4(&a_tile[k][row + 16]);
      const float4 z0 = load4(&b_tile[k][column]), z1 = load4(&b_tile[k][column + 32]);
      const float x_k[8] = {x0.x, x0.y, x0.z, x0.w, x1.x, x1.y, x1.z, x1.w};
      const float z_k[8] = {z0.x, z0.y, z0.z, z0.w, z1.x, z1.y, z1.z, z1.w};
      for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 8; ++j) sum[i][j] += x_k[i] * z_k[j];
      }
    }
    __syncthreads();
  }

  for (int i = 0; i < 8; ++i) {
    const int m = m0 + row + i % 4 + i / 4 * 16;
    for (int j = 0; j < 8; j += 4) {
      const int n = n0 + column + j * 8;
      if (m >= s.M || n >= s.N) continue;
      store4(y + m * s.N + n, make_float4(sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]));
    }
  }
}

}  // namespace

void matmul_06_warp_tiles(float* y, const float* a, const float* b, MatmulSize s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.N, tile_N)), unsigned(cuda::ceil_divide(s.M, tile_M)));
  LAUNCH(warp_tiles_kernel, grid, threads, 0, cuda::stream(), y, a, b, s);
  cuda::check_launch("matmul_06_warp_tiles");
}

}  // namespace chalk::ladder
