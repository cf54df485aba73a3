// y_mn = Σ_k a_mk · b_kn      (K and N multiples of 4)
// Grid: one block per 64 × 64 tile of y, 256 threads.
// A thread owns 4 × 4 neighbouring numbers of y and moves numbers in fours: one of a, one of b per 16 columns and rows.
// Bytes: as 04, in a quarter of the requests. Bound: shared memory, but 2 instructions instead of 8 per 16 multiply-adds.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/four.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int tile = 64, depth = 16, threads = 256;
// Rows of the transposed tile lie 68 apart: a multiple of 4 as float4 wants it, and the four rows that a warp writes at a
// time begin in two banks instead of one.
constexpr int a_stride = tile + 4;

// A load instruction fetches 4 or 16 bytes for the same price. Four neighbouring rows of a must then be neighbours in shared
// memory, so its tile is stored transposed: [k][m].
__global__ void vectorised_kernel(float* y, const float* a, const float* b, MatmulSize s) {
  SHARED_ARRAY(float, a_tile, depth, a_stride);
  SHARED_ARRAY(float, b_tile, depth, tile);
  const int m0 = blockIdx.y * tile, n0 = blockIdx.x * tile;
  const int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  const int a_row = threadIdx.x / 4,
            a_column = threadIdx.x % 4 * 4;  // of the four numbers this thread fetches
  const int b_row = threadIdx.x / 16, b_column = threadIdx.x % 16 * 4;
  const float4 zero = make_float4(0, 0, 0, 0);

  float sum[4][4] = {};
  for (int k0 = 0; k0 < s.K; k0 += depth) {
    const int m = m0 + a_row, a_k = k0 + a_column, b_k = k0 + b_row, n = n0 + b_column;
    const float4 a4 = m < s.M && a_k < s.K ? load4(a + m * s.K + a_k) : zero;
    a_tile[a_column][a_row] = a4.x;
    a_tile[a_column + 1][a_row] = a4.y;
    a_tile[a_column + 2][a_row] = a4.z;
    a_tile[a_column + 3][a_row] = a4.w;
    store4(&b_tile[b_row][b_column], b_k < s.K && n < s.N ? load4(b + b_k * s.N + n) : zero);
    __syncthreads();
    for (int k = 0; k < depth; ++k) {
      const float4 x = load4(&a_tile[k][row]), z = load4(&b_tile[k][column]);
      const float x_k[4] = {x.x, x.y, x.z, x.w}, z_k[4] = {z.x, z.y, z.z, z.w};
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) sum[i][j] += x_k[i] * z_k[j];
      }
    }
    __syncthreads();
  }

  for (int i = 0; i < 4; ++i) {
    const int m = m0 + row + i, n = n0 + column;
    if (m < s.M && n < s.N) store4(y + m * s.N + n, make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]));
  }
}

}  // namespace

void matmul_05_vectorised(float* y, const float* a, const float* b, MatmulSize s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.N, tile)), unsigned(cuda::ceil_divide(s.M, tile)));
  LAUNCH(vectorised_kernel, grid, threads, 0, cuda::stream(), y, a, b, s);
  cuda::check_launch("matmul_05_vectorised");
}

}  // namespace chalk::ladder
