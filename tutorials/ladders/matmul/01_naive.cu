// y_mn = Σ_k a_mk · b_kn
// Grid: one block per 32 × 8 numbers of y, 32 × 8 threads.
// A thread owns one number of y: neighbouring lanes of a warp own neighbouring rows of one column.
// Bytes: every lane reads K numbers of a and K of b, each step a touches 32 sectors. Bound: memory, far below its bandwidth.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 32, columns = 8;

// The formula as it stands. What is wrong is not in it but in who does what: lanes m, m + 1, … read a[m][k], a[m + 1][k], …,
// numbers a whole row apart, so every lane fetches a 32-byte sector of its own and uses 4 bytes of it.
__global__ void naive_kernel(float* y, const float* a, const float* b, MatmulSize s) {
  const int m = blockIdx.x * rows + threadIdx.x;
  const int n = blockIdx.y * columns + threadIdx.y;
  if (m >= s.M || n >= s.N) return;
  float sum = 0;
  for (int k = 0; k < s.K; ++k) sum += a[m * s.K + k] * b[k * s.N + n];
  y[m * s.N + n] = sum;
}

}  // namespace

void matmul_01_naive(float* y, const float* a, const float* b, MatmulSize s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.M, rows)), unsigned(cuda::ceil_divide(s.N, columns)));
  LAUNCH(naive_kernel, grid, dim3(rows, columns), 0, cuda::stream(), y, a, b, s);
  cuda::check_launch("matmul_01_naive");
}

}  // namespace chalk::ladder
