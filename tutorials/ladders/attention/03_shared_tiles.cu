// y_i = Σ_j e^(s_ij − max) v_j / Σ_j e^(s_ij − max),  s_ij = scale · q_i·k_j  for j ≤ i
// Grid: one block per 64 queries of a head, 64 threads.
// A thread owns a query, as in 02; the block shares 32 keys and their values at a time.
// Bytes: q and y once; k and v once per 64 queries, whole sectors. Bound: shared memory, one read per multiply-add.

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/attention/heads.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int queries = 64, keys = 32, D = attention_D;

// Keys and values come in tiles: the block fetches 32 of them with whole-sector loads, then every thread reads them from
// shared memory. All lanes read the same number at once, which costs one pass. Tiles beyond the block's last query are
// never fetched.
__global__ void shared_tiles_kernel(float* y, const float* q, const float* k, const float* v,
                                    AttentionShape s) {
  SHARED_ARRAY(float, k_tile, keys, D);
  SHARED_ARRAY(float, v_tile, keys, D);
  const int T = int(s.Tq), i0 = blockIdx.x * queries, i = i0 + threadIdx.x;
  const int begin = first_row(s, blockIdx.y), stride = row_stride(s);
  const int last = i0 + queries < T ? i0 + queries : T;  // keys that any query of the block may see
  float q_i[D], out[D] = {};
  for (int d = 0; d < D; ++d) q_i[d] = i < T ? q[begin + i * stride + d] : 0.0f;

  float max = -INFINITY, sum = 0;
  for (int j0 = 0; j0 < last; j0 += keys) {
    __syncthreads();  // everybody has finished with the tiles before
    for (int at = threadIdx.x; at < keys * D; at += queries) {
      const int j = j0 + at / D, from = begin + j * stride + at % D;
      k_tile[at / D][at % D] = j < T ? k[from] : 0.0f;
      v_tile[at / D][at % D] = j < T ? v[from] : 0.0f;
    }
    __syncthreads();
    for (int j = 0; j < keys && j0 + j <= i; ++j) {
      float score = 0;
      for (int d = 0; d < D; ++d) score += q_i[d] * k_tile[j][d];
      score *= s.scale;
      const float larger = fmaxf(max, score), shrink = expf(max - larger), p = expf(score - larger);
      for (int d = 0; d < D; ++d) out[d] = out[d] * shrink + p * v_tile[j][d];
      sum = sum * shrink + p;
      max = larger;
    }
  }
  for (int d = 0; d < D && i < T; ++d) y[begin + i * stride + d] = out[d] / sum;
}

}  // namespace

void attention_03_shared_tiles(float* y, float*, const float* q, const float* k, const float* v,
                               AttentionShape s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.Tq, queries)), unsigned(s.B * s.H));
  LAUNCH(shared_tiles_kernel, grid, queries, 0, cuda::stream(), y, q, k, v, s);
  cuda::check_launch("attention_03_shared_tiles");
}

}  // namespace chalk::ladder
