// y_n = weight[ids_n]      dweight[ids_n] += dy_n
// Grid: one block per place n, 32 to 256 threads. A block owns row y_n, or the row of dweight that id_n names.
// Backward without atomics: the block of the first place that holds an id adds all its places, in order; the others leave.
// Bytes: forward 8 a number; backward 4 for dy and 8 for dweight, and the ids of all places once per block. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "kernels/embedding.h"

namespace chalk::cuda {
namespace {

__global__ void embedding_forward_kernel(float* y, const float* weight, const int32_t* ids, int64_t C) {
  const int64_t n = blockIdx.x;
  const float* row = weight + int64_t(ids[n]) * C;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) y[n * C + c] = row[c];
}

__global__ void embedding_backward_kernel(float* dweight, const float* dy, const int32_t* ids, int64_t N,
                                          int64_t C) {
  const int64_t n = blockIdx.x;
  const int32_t id = ids[n];
  int earlier = 0;
  for (int64_t m = threadIdx.x; m < n; m += blockDim.x) earlier |= ids[m] == id;
  if (__syncthreads_or(earlier)) return;

  float* drow = dweight + int64_t(id) * C;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    float sum = drow[c];
    for (int64_t m = n; m < N; ++m) {
      if (ids[m] == id) sum += dy[m * C + c];  // the same branch for all threads
    }
    drow[c] = sum;
  }
}

}  // namespace

void embedding_forward(float* y, const float* weight, const int32_t* ids, int64_t N, int64_t C) {
  if (N == 0 || C == 0) return;
  LAUNCH(embedding_forward_kernel, unsigned(N), row_threads(C), 0, stream(), y, weight, ids, C);
  check_launch("embedding_forward");
}

void embedding_backward(float* dweight, const float* dy, const int32_t* ids, int64_t N, int64_t /*V*/,
                        int64_t C) {
  if (N == 0 || C == 0) return;
  LAUNCH(embedding_backward_kernel, unsigned(N), row_threads(C), 0, stream(), dweight, dy, ids, N, C);
  check_launch("embedding_backward");
}

}  // namespace chalk::cuda
