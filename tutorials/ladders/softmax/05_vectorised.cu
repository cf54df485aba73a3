// y_nc = e^(x_nc − max) / Σ_c e^(x_nc − max)      (C at most 1024 and a multiple of 4)
// Grid: one block per 4 rows, 128 threads.
// A warp owns a row; each lane four neighbouring numbers of every 128, up to 8 fours, in registers.
// Bytes: 8 a number, in a quarter of the requests of 04. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/four.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 4, per_lane = softmax_most_C / 128;

// The same sectors, fetched by a quarter of the instructions: 512 bytes a request. More bytes are under way at once, which
// is what a GPU needs to reach its bandwidth.
__global__ void vectorised_kernel(float* y, const float* x, int N, int C) {
  const int n = blockIdx.x * rows + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  float4 row[per_lane];
  float max = -INFINITY;
  for (int i = 0; i < per_lane; ++i) {
    const int c = 4 * (lane + 32 * i);
    row[i] = c < C ? load4(x + n * C + c) : make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
    max = fmaxf(max, fmaxf(fmaxf(row[i].x, row[i].y), fmaxf(row[i].z, row[i].w)));
  }
  max = cuda::warp_max(max);
  float sum = 0;
  for (int i = 0; i < per_lane; ++i) {
    row[i] =
        make_float4(expf(row[i].x - max), expf(row[i].y - max), expf(row[i].z - max), expf(row[i].w - max));
    sum += row[i].x + row[i].y + row[i].z + row[i].w;
  }
  sum = cuda::warp_sum(sum);
  for (int i = 0; i < per_lane; ++i) {
    const int c = 4 * (lane + 32 * i);
    if (c < C)
      store4(y + n * C + c, make_float4(row[i].x / sum, row[i].y / sum, row[i].z / sum, row[i].w / sum));
  }
}

}  // namespace

void softmax_05_vectorised(float* y, const float* x, int N, int C) {
  LAUNCH(vectorised_kernel, unsigned(cuda::ceil_divide(N, rows)), rows * 32, 0, cuda::stream(), y, x, N, C);
  cuda::check_launch("softmax_05_vectorised");
}

}  // namespace chalk::ladder
