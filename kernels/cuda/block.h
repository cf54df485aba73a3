#pragma once
// What kernels share: which numbers a thread owns, and sums over a warp or a block. Every sum has a fixed order, so the same
// launch shape gives the same bits.

#include <cstdint>

#include "kernels/cuda/launch.h"

namespace chalk::cuda {

// for (int64_t i = first_item(); i < last_item(count); i += blockDim.x): lanes that are neighbours own numbers that are.
__device__ inline int64_t first_item() {
  return int64_t(blockIdx.x) * blockDim.x * items_per_thread + threadIdx.x;
}
__device__ inline int64_t last_item(int64_t count) {
  const int64_t end = int64_t(blockIdx.x + 1) * blockDim.x * items_per_thread;
  return end < count ? end : count;
}

constexpr unsigned all_lanes = 0xffffffffu;

// The sum over groups of `width` neighbouring lanes, known to all of them. Adding crosswise (lane ^ offset) pairs the same
// numbers in every lane: all lanes get the same bits.
__device__ inline float warp_sum(float x, int width = 32) {
  for (int offset = width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(all_lanes, x, offset);
  return x;
}
__device__ inline float warp_max(float x, int width = 32) {
  for (int offset = width / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(all_lanes, x, offset));
  return x;
}

// The same over the block (whole warps); all threads must call it.
__device__ inline float block_sum(float x) {
  SHARED_ARRAY(float, partial, 32);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  x = warp_sum(x);
  if (warps == 1) return x;
  __syncthreads();  // an earlier call may still be reading
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  return warp_sum(lane < warps ? partial[lane] : 0.0f);
}
__device__ inline float block_max(float x) {
  SHARED_ARRAY(float, partial, 32);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  x = warp_max(x);
  if (warps == 1) return x;
  __syncthreads();
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  return warp_max(lane < warps ? partial[lane] : -INFINITY);
}

// Column sums (bias and norm-weight gradients): a block owns 8 columns, 32 rows at a time. 8 floats are one 32-byte sector:
// every byte that is fetched is used. Thread t works on column t % 8 and rows t / 8, t / 8 + 32, …
constexpr int column_block = 8, column_threads = 256, column_rows = column_threads / column_block;

// The sum of x over the block's row lanes, for each of its 8 columns; valid in threads 0 … 7.
__device__ inline float column_sum(float x) {
  SHARED_ARRAY(float, partial, 8, 8);
  x += __shfl_xor_sync(all_lanes, x, 8);
  x += __shfl_xor_sync(all_lanes, x, 16);
  const int column = threadIdx.x % column_block, warp = threadIdx.x / 32;
  __syncthreads();
  if (threadIdx.x % 32 < column_block) partial[warp][column] = x;
  __syncthreads();
  float sum = 0;
  if (threadIdx.x < column_block) {
    for (int w = 0; w < column_threads / 32; ++w) sum += partial[w][column];
  }
  return sum;
}

}  // namespace chalk::cuda
