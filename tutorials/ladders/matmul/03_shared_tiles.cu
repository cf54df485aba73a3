// y_mn = Σ_k a_mk · b_kn
// Grid: one block per 16 × 16 tile of y, 16 × 16 threads.
// A thread owns one number of y; the block shares 16 columns of a and 16 rows of b at a time.
// Bytes: each number of a is read N/16 times, each of b M/16 times. Bound: shared memory, 2 reads per multiply-add.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int tile = 16;

// The 16 threads of a row of the tile all need the same row of a. They fetch it together, once, 16 numbers at a time, into
// shared memory, and read it from there. Numbers beyond the matrices become 0: they add nothing.
__global__ void shared_tiles_kernel(float* y, const float* a, const float* b, MatmulSize s) {
  SHARED_ARRAY(float, a_tile, tile, tile);
  SHARED_ARRAY(float, b_tile, tile, tile);
  const int row = threadIdx.y, column = threadIdx.x;
  const int m = blockIdx.y * tile + row, n = blockIdx.x * tile + column;

  float sum = 0;
  for (int k0 = 0; k0 < s.K; k0 += tile) {
    a_tile[row][column] = m < s.M && k0 + column < s.K ? a[m * s.K + k0 + column] : 0.0f;
    b_tile[row][column] = k0 + row < s.K && n < s.N ? b[(k0 + row) * s.N + n] : 0.0f;
    __syncthreads();  // both tiles are complete
    for (int k = 0; k < tile; ++k) sum += a_tile[row][k] * b_tile[k][column];
    __syncthreads();  // nobody reads them any more
  }
  if (m < s.M && n < s.N) y[m * s.N + n] = sum;
}

}  // namespace

void matmul_03_shared_tiles(float* y, const float* a, const float* b, MatmulSize s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.N, tile)), unsigned(cuda::ceil_divide(s.M, tile)));
  LAUNCH(shared_tiles_kernel, grid, dim3(tile, tile), 0, cuda::stream(), y, a, b, s);
  cuda::check_launch("matmul_03_shared_tiles");
}

}  // namespace chalk::ladder
