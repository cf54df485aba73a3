// y_i = Σ_j e^(s_ij − max) v_j / Σ_j e^(s_ij − max),  s_ij = scale · q_i·k_j  for j ≤ i
// Grid: one block per 64 queries of a head, 64 threads.
// Four neighbouring lanes own 4 queries together: each lane every 4th channel of all four, in registers.
// Bytes: as 03. Bound: arithmetic; a shared read serves 4 multiply-adds, and q and y are read and written in sectors.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/attention/heads.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int queries = 64, keys = 32, D = attention_D;
constexpr int team = 4, own = 4,
              channels = D / team;  // lanes of a team; queries of a team; channels of a lane

// The thread's tile is 4 queries × 8 channels instead of 1 × 32: as many registers, but each k_jd, once read, is used for
// four queries. The price: a score is spread over the team's four lanes and is added up by two shuffles. All four lanes then
// know it, and keep the same maximum and sum. Keys that a query may not see get the score −∞, so that lanes stay together.
__global__ void register_tiles_kernel(float* y, const float* q, const float* k, const float* v,
                                      AttentionShape s) {
  SHARED_ARRAY(float, k_tile, keys, D);
  SHARED_ARRAY(float, v_tile, keys, D);
  const int T = int(s.Tq), i0 = blockIdx.x * queries, lane = threadIdx.x % team;
  const int i = i0 + threadIdx.x / team * own;  // queries i … i + 3, channels lane + 4 n
  const int begin = first_row(s, blockIdx.y), stride = row_stride(s);
  const int last = i0 + queries < T ? i0 + queries : T;
  float q_i[own][channels], out[own][channels] = {}, max[own], sum[own] = {};
  for (int a = 0; a < own; ++a) {
    max[a] = -INFINITY;
    for (int n = 0; n < channels; ++n) {
      q_i[a][n] = i + a < T ? q[begin + (i + a) * stride + lane + team * n] : 0.0f;
    }
  }

  for (int j0 = 0; j0 < last; j0 += keys) {
    __syncthreads();
    for (int at = threadIdx.x; at < keys * D; at += queries) {
      const int j = j0 + at / D, from = begin + j * stride + at % D;
      k_tile[at / D][at % D] = j < T ? k[from] : 0.0f;
      v_tile[at / D][at % D] = j < T ? v[from] : 0.0f;
    }
    __syncthreads();
    for (int j = 0; j < keys; ++j) {
      float score[own] = {};
      for (int n = 0; n < channels; ++n) {
        const float k_jd = k_tile[j][lane + team * n];
        for (int a = 0; a < own; ++a) score[a] += q_i[a][n] * k_jd;
      }
      float shrink[own], p[own];
      for (int a = 0; a < own; ++a) {
        const float dot = cuda::warp_sum(score[a], team);
        const float allowed = j0 + j <= i + a ? s.scale * dot : -INFINITY;
        const float larger = fmaxf(max[a], allowed);  // finite: key 0 is allowed to everybody
        shrink[a] = expf(max[a] - larger);
        p[a] = expf(allowed - larger);
        sum[a] = sum[a] * shrink[a] + p[a];
        max[a] = larger;
      }
      for (int n = 0; n < channels; ++n) {
        const float v_jd = v_tile[j][lane + team * n];
        for (int a = 0; a < own; ++a) out[a][n] = out[a][n] * shrink[a] + p[a] * v_jd;
      }
    }
  }
  for (int a = 0; a < own && i + a < T; ++a) {
    for (int n = 0; n < channels; ++n) y[begin + (i + a) * stride + lane + team * n] = out[a][n] / sum[a];
  }
}

}  // namespace

void attention_04_register_tiles(float* y, float*, const float* q, const float* k, const float* v,
                                 AttentionShape s) {
  const dim3 grid(unsigned(cuda::ceil_divide(s.Tq, queries)), unsigned(s.B * s.H));
  LAUNCH(register_tiles_kernel, grid, queries, 0, cuda::stream(), y, q, k, v, s);
  cuda::check_launch("attention_04_register_tiles");
}

}  // namespace chalk::ladder
