// y_bnm = x_bmn      backward: dx_bmn += dy_bnm
// Grid: one block per 32 × 32 tile (and matrix), 32 × 8 threads. A block owns a tile, a thread four numbers of it.
// The tile goes through shared memory, so that reads and writes both run along rows; its rows are 33 long: a column then
// lies in 32 different banks. Bytes: forward 8 a number, backward 12. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/transpose.h"

namespace chalk::cuda {
namespace {

constexpr int tile_size = 32, tile_rows = 8;

template <bool add>
__global__ void transpose_kernel(float* y, const float* x, int64_t B, int64_t M, int64_t N) {
  SHARED_ARRAY(float, tile, 32, 33);
  const int64_t m0 = int64_t(blockIdx.y) * tile_size, n0 = int64_t(blockIdx.x) * tile_size;
  const int column = threadIdx.x;
  for (int64_t b = blockIdx.z; b < B; b += gridDim.z) {
    const float* x_b = x + b * M * N;
    float* y_b = y + b * M * N;
    for (int row = threadIdx.y; row < tile_size; row += tile_rows) {
      if (m0 + row < M && n0 + column < N) tile[row][column] = x_b[(m0 + row) * N + n0 + column];
    }
    __syncthreads();
    for (int row = threadIdx.y; row < tile_size; row += tile_rows) {
      if (n0 + row < N && m0 + column < M) {
        float* to = y_b + (n0 + row) * M + m0 + column;
        *to = add ? *to + tile[column][row] : tile[column][row];
      }
    }
    __syncthreads();  // before the next matrix overwrites the tile
  }
}

template <bool add>
void transpose(float* y, const float* x, int64_t B, int64_t M, int64_t N) {
  if (B * M * N == 0) return;
  const dim3 grid(unsigned(ceil_divide(N, tile_size)), unsigned(ceil_divide(M, tile_size)),
                  unsigned(std::min<int64_t>(B, 65535)));
  LAUNCH(transpose_kernel<add>, grid, dim3(tile_size, tile_rows), 0, stream(), y, x, B, M, N);
  check_launch("transpose");
}

}  // namespace

void transpose_forward(float* y, const float* x, int64_t B, int64_t M, int64_t N) {
  transpose<false>(y, x, B, M, N);
}
// dx (B, M, N) += the transpose of dy (B, N, M)
void transpose_backward(float* dx, const float* dy, int64_t B, int64_t M, int64_t N) {
  transpose<true>(dx, dy, B, N, M);
}

}  // namespace chalk::cuda
