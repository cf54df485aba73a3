// y = Σ x, Σ x²: partial sums of blocks, then one block      y_c += Σ_n x_nc      y_i = factor · x_i      dx_i += scale · dy[0]
// Grid: up to 1024 blocks of 256 threads for the first stage, one for the second; one block per 8 columns; one per 1024 numbers.
// A thread owns every (grid · block)-th number, a block 8 columns (32 rows at a time), or a thread 4 numbers 256 apart.
// Bytes: 4 a number for sums, 8 for scale and sum_backward. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/reduce.h"

namespace chalk::cuda {
namespace {

constexpr int most_partials = 1024;
// Partial sums of the first stage. One buffer is enough: all launches go to one stream.
__device__ float partial_sums[most_partials];

// One block per 4096 numbers until there are most_partials of them. A function of count alone: the order is always the same.
unsigned sum_blocks(int64_t count) {
  return unsigned(std::clamp<int64_t>(ceil_divide(count, 4096), 1, most_partials));
}

template <bool square>
__global__ void partial_sum_kernel(const float* x, int64_t count) {
  float sum = 0;
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    sum += square ? x[i] * x[i] : x[i];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial_sums[blockIdx.x] = sum;
}

__global__ void total_kernel(float* y, int partials) {
  float sum = 0;
  for (int i = threadIdx.x; i < partials; i += blockDim.x) sum += partial_sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) y[0] = sum;
}

__global__ void sum_backward_kernel(float* dx, const float* dy, float scale, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) dx[i] += scale * dy[0];
}

__global__ void sum_rows_kernel(float* y, const float* x, int64_t N, int64_t C) {
  const int64_t c = int64_t(blockIdx.x) * column_block + threadIdx.x % column_block;
  float sum = 0;
  for (int64_t n = threadIdx.x / column_block; n < N && c < C; n += column_rows) sum += x[n * C + c];
  sum = column_sum(sum);
  if (threadIdx.x < column_block && c < C) y[c] += sum;
}

__global__ void scale_kernel(float* y, const float* x, float factor, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) y[i] = factor * x[i];
}

}  // namespace

void sum(float* y, const float* x, int64_t count) {
  const unsigned blocks = sum_blocks(count);
  LAUNCH(partial_sum_kernel<false>, blocks, 256, 0, stream(), x, count);
  LAUNCH(total_kernel, 1, 256, 0, stream(), y, int(blocks));
  check_launch("sum");
}

void sum_squares(float* y, const float* x, int64_t count) {
  const unsigned blocks = sum_blocks(count);
  LAUNCH(partial_sum_kernel<true>, blocks, 256, 0, stream(), x, count);
  LAUNCH(total_kernel, 1, 256, 0, stream(), y, int(blocks));
  check_launch("sum_squares");
}

void sum_backward(float* dx, const float* dy, float scale, int64_t count) {
  if (count == 0) return;
  LAUNCH(sum_backward_kernel, item_blocks(count), item_threads, 0, stream(), dx, dy, scale, count);
  check_launch("sum_backward");
}

void sum_rows(float* y, const float* x, int64_t N, int64_t C) {
  if (N == 0 || C == 0) return;
  LAUNCH(sum_rows_kernel, unsigned(ceil_divide(C, column_block)), column_threads, 0, stream(), y, x, N, C);
  check_launch("sum_rows");
}

void scale(float* y, const float* x, float factor, int64_t count) {
  if (count == 0) return;
  LAUNCH(scale_kernel, item_blocks(count), item_threads, 0, stream(), y, x, factor, count);
  check_launch("scale");
}

}  // namespace chalk::cuda
