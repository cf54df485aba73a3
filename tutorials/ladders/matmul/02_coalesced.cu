// y_mn = Σ_k a_mk · b_kn
// Grid: one block per 8 × 32 numbers of y, 32 × 8 threads.
// A thread owns one number of y: neighbouring lanes of a warp own neighbouring columns of one row.
// Bytes: each step of k a warp touches 1 sector of a (all lanes the same number) and 4 of b. Bound: memory; nothing is kept.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 8, columns = 32;

// The same loop; only m and n have changed places. threadIdx.x is what differs between the lanes of a warp, so it must
// count along memory: lanes n, n + 1, … read b[k][n], b[k][n + 1], …, 128 bytes in a row, and write y the same way.
__global__ void coalesced_kernel(float* y, const float* a, const float* b, MatmulSize s) {
  const int n = blockIdx.x * columns + threadIdx.x;
  const int m = blockIdx.y * rows + threadIdx.y;
  if (m >= s.M || n >= s.N) return;
  float sum = 0;
  for (int k = 0; k < s.K; ++k) sum += a[m * s.K + k] * b[k * s.N + n];
  y[m * s.N + n] = sum;
}

}  // namespace

void matmul_02_coalesced(float* y, const float* a, const float* b, MatmulSize s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.N, columns)), unsigned(cuda::ceil_divide(s.M, rows)));
  LAUNCH(coalesced_kernel, grid, dim3(columns, rows), 0, cuda::stream(), y, a, b, s);
  cuda::check_launch("matmul_02_coalesced");
}

}  // namespace chalk::ladder
