// y_i = Σ_j p_ij v_j,  p_i = softmax(s_i),  s_ij = scale · q_i·k_j  for j ≤ i
// Grid: scores: one block per 32 keys × 4 queries of a head. softmax: one per 4 queries. y: one per 4 queries. 128 threads each.
// A thread owns a score; a warp owns a row of them; a thread owns a number of y.
// Bytes: the T × T scores are written, read three times and rewritten: 20 T² / 2 a head. Bound: memory.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/attention/heads.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int queries = 4;

// The three steps of the formula, one kernel each; between them the matrix of scores (B·H, T, T) lies in memory.
// Lanes are neighbouring keys, and each reads a row of k of its own.
__global__ void scores_kernel(float* scores, const float* q, const float* k, AttentionShape s) {
  const int T = int(s.Tq), D = int(s.D), head = blockIdx.z;
  const int j = blockIdx.x * 32 + threadIdx.x, i = blockIdx.y * queries + threadIdx.y;
  if (i >= T || j > i) return;
  const float* q_i = q + first_row(s, head) + i * row_stride(s);
  const float* k_j = k + first_row(s, head) + j * row_stride(s);
  float dot = 0;
  for (int d = 0; d < D; ++d) dot += q_i[d] * k_j[d];
  scores[(head * T + i) * T + j] = s.scale * dot;
}

__global__ void row_softmax_kernel(float* scores, int T) {
  const int i = blockIdx.x * queries + threadIdx.y, lane = threadIdx.x;
  if (i >= T) return;
  float* row = scores + (int(blockIdx.y) * T + i) * T;
  float max = -INFINITY;
  for (int j = lane; j <= i; j += 32) max = fmaxf(max, row[j]);
  max = cuda::warp_max(max);
  float sum = 0;
  for (int j = lane; j <= i; j += 32) sum += expf(row[j] - max);
  sum = cuda::warp_sum(sum);
  for (int j = lane; j <= i; j += 32) row[j] = expf(row[j] - max) / sum;
}

__global__ void weighted_sum_kernel(float* y, const float* scores, const float* v, AttentionShape s) {
  const int T = int(s.Tq), head = blockIdx.y, d = threadIdx.x;
  const int i = blockIdx.x * queries + threadIdx.y;
  if (i >= T || d >= int(s.D)) return;
  const float* p_i = scores + (head * T + i) * T;
  const float* v_0 = v + first_row(s, head) + d;
  float sum = 0;
  for (int j = 0; j <= i; ++j) sum += p_i[j] * v_0[j * row_stride(s)];
  y[first_row(s, head) + i * row_stride(s) + d] = sum;
}

}  // namespace

void attention_01_three_kernels(float* y, float* scores, const float* q, const float* k, const float* v,
                                AttentionShape s) {
  const unsigned heads = unsigned(s.B * s.H), rows = unsigned(cuda::ceil_divide(s.Tq, queries));
  const dim3 block(32, queries);
  LAUNCH(scores_kernel, dim3(unsigned(cuda::ceil_divide(s.Tk, 32)), rows, heads), block, 0, cuda::stream(),
         scores, q, k, s);
  LAUNCH(row_softmax_kernel, dim3(rows, heads), block, 0, cuda::stream(), scores, int(s.Tq));
  LAUNCH(weighted_sum_kernel, dim3(rows, heads), block, 0, cuda::stream(), y, scores, v, s);
  cuda::check_launch("attention_01_three_kernels");
}

}  // namespace chalk::ladder
