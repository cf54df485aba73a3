// y_mn = Σ_k tf32(a_mk) · tf32(b_kn), added up in float
// Grid: one block per 32 × 32 tile of y, 128 threads: 2 × 2 warps.
// A warp owns 16 × 16 numbers of y; its 32 lanes hold them together, in an order that only the hardware knows.
// Bytes: each number of a is read N/32 times, each of b M/32 times. Bound: shared memory; the tensor cores mostly wait.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

#ifdef __CUDACC__
#include <mma.h>
#endif

namespace chalk::ladder {

#ifdef __CUDACC__
namespace {

using namespace nvcuda;
constexpr int tile = 32, depth = 16, threads = 128;

// One instruction of a whole warp multiplies a 16 × 8 by an 8 × 16 matrix. Its price is the number type: tf32 keeps float's
// exponent and 10 of the 23 bits of its fraction.
__global__ void tensor_cores_kernel(float* y, const float* a, const float* b, MatmulSize s) {
  __shared__ __align__(32) float a_tile[tile][depth], b_tile[depth][tile], y_tile[tile][tile];
  const int m0 = blockIdx.y * tile, n0 = blockIdx.x * tile;
  const int warp_m = threadIdx.x / 64 * 16, warp_n = threadIdx.x / 32 % 2 * 16;

  wmma::fragment<wmma::accumulator, 16, 16, 8, float> sum;
  wmma::fill_fragment(sum, 0.0f);
  for (int k0 = 0; k0 < s.K; k0 += depth) {
    for (int at = threadIdx.x; at < tile * depth; at += threads) {
      const int m = m0 + at / depth, a_k = k0 + at % depth, b_k = k0 + at / tile, n = n0 + at % tile;
      a_tile[at / depth][at % depth] = wmma::__float_to_tf32(m < s.M && a_k < s.K ? a[m * s.K + a_k] : 0.0f);
      b_tile[at / tile][at % tile] = wmma::__float_to_tf32(b_k < s.K && n < s.N ? b[b_k * s.N + n] : 0.0f);
    }
    __syncthreads();
    for (int k = 0; k < depth; k += 8) {
      wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major> x;
      wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::row_major> z;
      wmma::load_matrix_sync(x, &a_tile[warp_m][k], depth);
      wmma::load_matrix_sync(z, &b_tile[k][warp_n], tile);
      wmma::mma_sync(sum, x, z, sum);
    }
    __syncthreads();
  }

  // Through shared memory, because a fragment cannot be stored in part.
  wmma::store_matrix_sync(&y_tile[warp_m][warp_n], sum, tile, wmma::mem_row_major);
  __syncthreads();
  for (int at = threadIdx.x; at < tile * tile; at += threads) {
    const int m = m0 + at / tile, n = n0 + at % tile;
    if (m < s.M && n < s.N) y[m * s.N + n] = y_tile[at / tile][at % tile];
  }
}

}  // namespace

void matmul_07_tensor_cores(float* y, const float* a, const float* b, MatmulSize s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.N, tile)), unsigned(cuda::ceil_divide(s.M, tile)));
  LAUNCH(tensor_cores_kernel, grid, threads, 0, cuda::stream(), y, a, b, s);
  cuda::check_launch("matmul_07_tensor_cores");
}

#else

void matmul_07_tensor_cores(float*, const float*, const float*, MatmulSize) {
  throw std::runtime_error(no_tensor_cores);
}

#endif

}  // namespace chalk::ladder
