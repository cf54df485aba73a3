// y_i = Σ_j e^(s_ij − max) v_j / Σ_j e^(s_ij − max),  s_ij = scale · q_i·k_j  for j ≤ i
// Grid: one block per 64 queries of a head, 64 threads.
// A thread owns a query: q_i, the row of y that grows, and the running maximum and sum, all in registers.
// Bytes: q and y once; k and v once per warp of queries, 4 bytes of each sector at a time. Bound: memory latency.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/attention/heads.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int queries = 64, D = attention_D;

// The T × T matrix is never stored. Keys go by one at a time; when the maximum grows, the sum and the row of y shrink with
// it (softmax/03). All lanes of a warp look at the same key.
__global__ void online_kernel(float* y, const float* q, const float* k, const float* v, AttentionShape s) {
  const int T = int(s.Tq), i = blockIdx.x * queries + threadIdx.x;
  if (i >= T) return;
  const int begin = first_row(s, blockIdx.y), stride = row_stride(s);
  float q_i[D], out[D] = {};
  for (int d = 0; d < D; ++d) q_i[d] = q[begin + i * stride + d];

  float max = -INFINITY, sum = 0;
  for (int j = 0; j <= i; ++j) {
    float score = 0;
    for (int d = 0; d < D; ++d) score += q_i[d] * k[begin + j * stride + d];
    score *= s.scale;
    const float larger = fmaxf(max, score), shrink = expf(max - larger), p = expf(score - larger);
    for (int d = 0; d < D; ++d) out[d] = out[d] * shrink + p * v[begin + j * stride + d];
    sum = sum * shrink + p;
    max = larger;
  }
  for (int d = 0; d < D; ++d) y[begin + i * stride + d] = out[d] / sum;
}

}  // namespace

void attention_02_online(float* y, float*, const float* q, const float* k, const float* v, AttentionShape s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.Tq, queries)), unsigned(s.B * s.H));
  LAUNCH(online_kernel, grid, queries, 0, cuda::stream(), y, q, k, v, s);
  cuda::check_launch("attention_02_online");
}

}  // namespace chalk::ladder
