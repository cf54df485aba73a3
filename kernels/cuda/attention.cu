// FlashAttention-2 forward (Dao 2023): y_i = Σ_j p_ij v_j, p_ij = e^(s_ij − lse_i), s_ij = scale · q_i·k_j, without the T × T matrix
// Grid: one block per 32 queries of one head of one sequence, 128 threads; decoding (Tq = 1) one block of 256 per head.
// A thread owns 2 queries × 4 of 32 keys of a tile of scores, and 2 rows × D/8 columns of y, in registers. See attention_tile.h.
// Bytes: q and y once, k and v once per 32 queries. Bound: arithmetic (4·Tq·Tk·D / 2 when causal); decoding: memory, k and v once.

#include "kernels/attention.h"
#include "kernels/cuda/attention_tile.h"

namespace chalk::cuda {

// attention_backward.cu
void attention_backward_kernels(float* dq, float* dk, float* dv, const float* dy, const float* q,
                                const float* k, const float* v, const float* y, const float* lse,
                                float* workspace, const AttentionShape& s);

namespace {

// Online softmax of two rows, spread over 8 lanes each.
struct RunningSoftmax {
  float max[2] = {-INFINITY, -INFINITY};  // the largest score so far
  float sum[2] = {0, 0};                  // Σ e^(s − max)
};

// Takes 2 × 4 scores in, gives back e^(s − max) in their place and the factor by which older sums shrink.
__device__ inline void update(RunningSoftmax& soft, float (&score)[2][4], float (&shrink)[2]) {
  for (int a = 0; a < 2; ++a) {
    float largest = soft.max[a];
    for (int n = 0; n < 4; ++n) largest = fmaxf(largest, score[a][n]);
    const float max = warp_max(largest, row_lanes);
    const float base = max == -INFINITY ? 0.0f : max;  // nothing allowed yet: −∞ − (−∞) would be NaN
    shrink[a] = expf(soft.max[a] - base);
    float sum = 0;
    for (int n = 0; n < 4; ++n) {
      score[a][n] = expf(score[a][n] - base);
      sum += score[a][n];
    }
    soft.sum[a] = soft.sum[a] * shrink[a] + warp_sum(sum, row_lanes);
    soft.max[a] = max;
  }
}

template <int most_D>
__global__ void attention_forward_kernel(float* y, float* lse, const float* q, const float* k, const float* v,
                                         AttentionShape s) {
  DYN_SHARED(float, shared);
  const int D = int(s.D), width = D + 1;
  float* q_tile = shared;                           // (32, D + 1)
  float* k_tile = q_tile + attention_tile * width;  // (32, D + 1)
  float* v_tile = k_tile + attention_tile * width;  // (32, D + 1)
  float* p_tile = v_tile + attention_tile * width;  // (32, 33)

  const int64_t tiles = (s.Tq + attention_tile - 1) / attention_tile;
  const int64_t i0 = blockIdx.x % tiles * attention_tile, head = blockIdx.x / tiles, b = head / s.H,
                h = head % s.H;
  const HeadRows queries = query_rows(s, b, h), keys = key_rows(s, b, h / (s.H / s.K));
  const TileThread t = tile_thread();
  load_rows(q_tile, q, queries, i0, s.Tq, D);

  RunningSoftmax soft;
  float out[2][most_D / row_lanes] =
      {};  // y before the division by the sum: rows t.row, t.row + 16, columns t.lane + 8 n
  for (int64_t j0 = 0; j0 < s.Tk; j0 += attention_tile) {
    if (!tiles_meet(s, i0, j0)) continue;  // the same for all threads
    __syncthreads();
    load_rows(k_tile, k, keys, j0, s.Tk, D);
    load_rows(v_tile, v, keys, j0, s.Tk, D);
    __syncthreads();

    // s_ij = scale · q_i·k_j for allowed j
    float score[2][4];
    tile_dots(score, q_tile, k_tile, D, t);
    for (int a = 0; a < 2; ++a) {
      for (int n = 0; n < 4; ++n) {
        const bool allowed = may_see(s, i0 + t.row + 16 * a, j0 + t.lane + row_lanes * n);
        score[a][n] = allowed ? s.scale * score[a][n] : -INFINITY;
      }
    }
    float shrink[2];
    update(soft, score, shrink);

    // The 8 lanes of a row share its 32 probabilities through shared memory. They are in one warp.
    for (int a = 0; a < 2; ++a) {
      for (int n = 0; n < 4; ++n)
        p_tile[(t.row + 16 * a) * (attention_tile + 1) + t.lane + row_lanes * n] = score[a][n];
    }
    __syncwarp();
    for (int n = 0; n < most_D / row_lanes; ++n) {
      const int d = t.lane + row_lanes * n;
      if (d >= D) break;
      float sum0 = out[0][n] * shrink[0], sum1 = out[1][n] * shrink[1];
      for (int j = 0; j < attention_tile; ++j) {
        const float v_jd = v_tile[j * width + d];
        sum0 += p_tile[t.row * (attention_tile + 1) + j] * v_jd;
        sum1 += p_tile[(t.row + 16) * (attention_tile + 1) + j] * v_jd;
      }
      out[0][n] = sum0, out[1][n] = sum1;
    }
    __syncwarp();  // the next tile's probabilities must wait
  }

  for (int a = 0; a < 2; ++a) {
    const int64_t i = i0 + t.row + 16 * a;
    if (i >= s.Tq) continue;
    const bool any = soft.sum[a] > 0 || soft.sum[a] != soft.sum[a];  // NaN counts: it must be seen
    for (int n = 0; n < most_D / row_lanes; ++n) {
      const int d = t.lane + row_lanes * n;
      if (d < D) y[queries.base + i * queries.stride + d] = any ? out[a][n] / soft.sum[a] : 0.0f;
    }
    // A query without an allowed key: +∞, so that every p is 0 in backward.
    if (t.lane == 0) lse[head * s.Tq + i] = any ? soft.max[a] + logf(soft.sum[a]) : INFINITY;
  }
}

constexpr int decode_threads = 256;

// One query: 256 keys at a time. First a thread owns a key (its score), then a column of v (and every parts-th key).
__global__ void attention_decode_kernel(float* y, float* lse, const float* q, const float* k, const float* v,
                                        AttentionShape s) {
  SHARED_ARRAY(float, query, attention_most_D);
  SHARED_ARRAY(float, p, decode_threads);
  SHARED_ARRAY(float, partial, decode_threads);
  const int D = int(s.D);
  const int64_t head = blockIdx.x, b = head / s.H, h = head % s.H;
  const HeadRows queries = query_rows(s, b, h), keys = key_rows(s, b, h / (s.H / s.K));
  const KeyRange range = allowed_keys(s, 0);
  int columns = 32;  // the next power of two: threads of a part
  while (columns < D) columns *= 2;
  const int d = threadIdx.x % columns, part = threadIdx.x / columns, parts = decode_threads / columns;
  for (int n = threadIdx.x; n < D; n += decode_threads) query[n] = q[queries.base + n];
  __syncthreads();

  float max = -INFINITY, sum = 0, out = 0;
  for (int64_t j0 = range.first; j0 < range.last; j0 += decode_threads) {
    const int count = int(range.last - j0 < decode_threads ? range.last - j0 : decode_threads);
    float score = -INFINITY;
    if (int(threadIdx.x) < count) {
      const float* k_j = k + keys.base + (j0 + threadIdx.x) * keys.stride;
      float dot = 0;
      for (int n = 0; n < D; ++n) dot += query[n] * k_j[n];
      score = s.scale * dot;
    }
    const float new_max = fmaxf(max, block_max(score));
    const float shrink = expf(max - new_max);
    const float e = int(threadIdx.x) < count ? expf(score - new_max) : 0.0f;
    p[threadIdx.x] = e;
    sum = sum * shrink + block_sum(e);
    max = new_max;
    __syncthreads();
    out *= shrink;
    if (d < D) {
      for (int j = part; j < count; j += parts) out += p[j] * v[keys.base + (j0 + j) * keys.stride + d];
    }
    __syncthreads();
  }
  partial[threadIdx.x] = out;
  __syncthreads();
  if (part == 0 && d < D) {
    for (int other = 1; other < parts; ++other) out += partial[other * columns + d];
    y[queries.base + d] = sum != 0 ? out / sum : 0.0f;
  }
  if (threadIdx.x == 0) lse[head] = sum != 0 ? max + logf(sum) : INFINITY;
}

template <int most_D>
void forward(float* y, float* lse, const float* q, const float* k, const float* v, const AttentionShape& s) {
  launch_tiles(attention_forward_kernel<most_D>, "attention_forward",
               s.B * s.H * ceil_divide(s.Tq, attention_tile), tile_bytes(s.D, 3, 1), y, lse, q, k, v, s);
}

}  // namespace

void attention_forward(float* y, float* lse, const float* q, const float* k, const float* v,
                       const AttentionShape& s) {
  if (s.B * s.H * s.Tq * s.D == 0) return;
  if (s.D > attention_most_D)
    throw std::runtime_error("cuda: attention heads wider than 256 do not fit shared memory");
  if (s.Tq == 1) {
    LAUNCH(attention_decode_kernel, unsigned(s.B * s.H), decode_threads, 0, stream(), y, lse, q, k, v, s);
    return check_launch("attention_decode");
  }
  if (s.D <= 32) return forward<32>(y, lse, q, k, v, s);
  if (s.D <= 64) return forward<64>(y, lse, q, k, v, s);
  if (s.D <= 128) return forward<128>(y, lse, q, k, v, s);
  forward<256>(y, lse, q, k, v, s);
}

void attention_backward(float* dq, float* dk, float* dv, const float* dy, const float* q, const float* k,
                        const float* v, const float* y, const float* lse, float* workspace,
                        const AttentionShape& s) {
  if (s.B * s.H * s.Tq * s.D == 0) return;
  if (s.D > attention_most_D)
    throw std::runtime_error("cuda: attention heads wider than 256 do not fit shared memory");
  attention_backward_kernels(dq, dk, dv, dy, q, k, v, y, lse, workspace, s);
}

}  // namespace chalk::cuda
