// FlashAttention-2 backward: ds_ij = p_ij · (dy_i·v_j − D_i); dq_i += scale Σ_j ds_ij k_j, dk_j += scale Σ_i ds_ij q_i, dv_j += Σ_i p_ij dy_i
// Grid: one warp per query for D_i; one block of 128 per 32 keys of a key/value head (dk, dv); one per 32 queries of a head (dq).
// A thread owns 2 × 4 pairs of a tile of scores, and 2 rows × D/8 columns of the gradients, in registers. See attention_tile.h.
// Bytes: q, k, v, dy once per 32 rows of the other side. Bound: arithmetic: 7 products of Tq·Tk·D against 5 with atomics, which
// would not be reproducible: scores are computed twice so that every sum has one owner and a fixed order.

#include "kernels/cuda/attention_tile.h"

namespace chalk::cuda {
namespace {

// D_i = Σ dy_i·y_i, which equals Σ_j p_ij (dy_i·v_j): no second pass over the keys
__global__ void row_dots_kernel(float* D_of_row, const float* dy, const float* y, AttentionShape s) {
  const int64_t row = int64_t(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;  // (b, h, i)
  if (row >= s.B * s.H * s.Tq) return;                                             // whole warps
  const int64_t head = row / s.Tq, i = row % s.Tq;
  const HeadRows queries = query_rows(s, head / s.H, head % s.H);
  float dot = 0;
  for (int64_t d = threadIdx.x % 32; d < s.D; d += 32) {
    const int64_t at = queries.base + i * queries.stride + d;
    dot += dy[at] * y[at];
  }
  dot = warp_sum(dot);
  if (threadIdx.x % 32 == 0) D_of_row[row] = dot;
}

// p_ij and ds_ij of the thread's 2 × 4 pairs (rows are queries, columns keys), from the four tiles in shared memory.
__device__ inline void pair_gradients(float (&p)[2][4], float (&ds)[2][4], const float* q_tile,
                                      const float* k_tile, const float* v_tile, const float* dy_tile,
                                      const float* lse, const float* D_of_row, int64_t i0, int64_t j0,
                                      const AttentionShape& s, TileThread t) {
  const int D = int(s.D);
  tile_dots(p, q_tile, k_tile, D, t);
  tile_dots(ds, dy_tile, v_tile, D, t);
  for (int a = 0; a < 2; ++a) {
    const int64_t i = i0 + t.row + 16 * a;
    for (int n = 0; n < 4; ++n) {
      const bool allowed = may_see(s, i, j0 + t.lane + row_lanes * n);
      // p_ij = e^(s_ij − lse_i)      ds_ij = p_ij · (dy_i·v_j − D_i)
      p[a][n] = allowed ? expf(s.scale * p[a][n] - lse[i]) : 0.0f;
      ds[a][n] = allowed ? p[a][n] * (ds[a][n] - D_of_row[i]) : 0.0f;
    }
  }
}

// Puts the thread's 2 × 4 pairs where the block can see them.
__device__ inline void store_square(float* square, const float (&x)[2][4], TileThread t) {
  for (int a = 0; a < 2; ++a) {
    for (int n = 0; n < 4; ++n)
      square[(t.row + 16 * a) * (attention_tile + 1) + t.lane + row_lanes * n] = x[a][n];
  }
}

template <int most_D>
__global__ void dk_dv_kernel(float* dk, float* dv, const float* dy, const float* q, const float* k,
                             const float* v, const float* lse, const float* D_of_row, AttentionShape s) {
  DYN_SHARED(float, shared);
  const int D = int(s.D), width = D + 1, square_width = attention_tile + 1;
  float* k_tile = shared;  // each (32, D + 1)
  float* v_tile = k_tile + attention_tile * width;
  float* q_tile = v_tile + attention_tile * width;
  float* dy_tile = q_tile + attention_tile * width;
  float* p_square = dy_tile + attention_tile * width;           // (32 queries, 33)
  float* ds_square = p_square + attention_tile * square_width;  // (32 queries, 33)

  const int64_t tiles = (s.Tk + attention_tile - 1) / attention_tile, group = s.H / s.K;
  const int64_t j0 = blockIdx.x % tiles * attention_tile, b = blockIdx.x / tiles / s.K,
                kv_head = blockIdx.x / tiles % s.K;
  const HeadRows keys = key_rows(s, b, kv_head);
  const TileThread t = tile_thread();
  load_rows(k_tile, k, keys, j0, s.Tk, D);
  load_rows(v_tile, v, keys, j0, s.Tk, D);

  float dk_sum[2][most_D / row_lanes] = {}, dv_sum[2][most_D / row_lanes] = {};  // keys t.row, t.row + 16
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const HeadRows queries = query_rows(s, b, h);
    const int64_t row0 = (b * s.H + h) * s.Tq;
    for (int64_t i0 = 0; i0 < s.Tq; i0 += attention_tile) {
      if (!tiles_meet(s, i0, j0)) continue;
      __syncthreads();
      load_rows(q_tile, q, queries, i0, s.Tq, D);
      load_rows(dy_tile, dy, queries, i0, s.Tq, D);
      __syncthreads();
      float p[2][4], ds[2][4];
      pair_gradients(p, ds, q_tile, k_tile, v_tile, dy_tile, lse + row0, D_of_row + row0, i0, j0, s, t);
      store_square(p_square, p, t);
      store_square(ds_square, ds, t);
      __syncthreads();
      for (int n = 0; n < most_D / row_lanes; ++n) {
        const int d = t.lane + row_lanes * n;
        if (d >= D) break;
        for (int i = 0; i < attention_tile; ++i) {
          const float q_id = q_tile[i * width + d], dy_id = dy_tile[i * width + d];
          for (int a = 0; a < 2; ++a) {
            // dk_j += ds_ij q_i      dv_j += p_ij dy_i
            dk_sum[a][n] += ds_square[i * square_width + t.row + 16 * a] * q_id;
            dv_sum[a][n] += p_square[i * square_width + t.row + 16 * a] * dy_id;
          }
        }
      }
    }
  }

  for (int a = 0; a < 2; ++a) {
    const int64_t j = j0 + t.row + 16 * a;
    if (j >= s.Tk) continue;
    for (int n = 0; n < most_D / row_lanes; ++n) {
      const int d = t.lane + row_lanes * n;
      if (d >= D) break;
      const int64_t at = keys.base + j * keys.stride + d;
      if (dk) dk[at] += s.scale * dk_sum[a][n];
      if (dv) dv[at] += dv_sum[a][n];
    }
  }
}

template <int most_D>
__global__ void dq_kernel(float* dq, const float* dy, const float* q, const float* k, const float* v,
                          const float* lse, const float* D_of_row, AttentionShape s) {
  DYN_SHARED(float, shared);
  const int D = int(s.D), width = D + 1, square_width = attention_tile + 1;
  float* q_tile = shared;  // each (32, D + 1)
  float* dy_tile = q_tile + attention_tile * width;
  float* k_tile = dy_tile + attention_tile * width;
  float* v_tile = k_tile + attention_tile * width;
  float* ds_square = v_tile + attention_tile * width;  // (32 queries, 33)

  const int64_t tiles = (s.Tq + attention_tile - 1) / attention_tile;
  const int64_t i0 = blockIdx.x % tiles * attention_tile, head = blockIdx.x / tiles, b = head / s.H,
                h = head % s.H;
  const HeadRows queries = query_rows(s, b, h), keys = key_rows(s, b, h / (s.H / s.K));
  const TileThread t = tile_thread();
  load_rows(q_tile, q, queries, i0, s.Tq, D);
  load_rows(dy_tile, dy, queries, i0, s.Tq, D);

  float dq_sum[2][most_D / row_lanes] = {};  // queries t.row, t.row + 16
  for (int64_t j0 = 0; j0 < s.Tk; j0 += attention_tile) {
    if (!tiles_meet(s, i0, j0)) continue;
    __syncthreads();
    load_rows(k_tile, k, keys, j0, s.Tk, D);
    load_rows(v_tile, v, keys, j0, s.Tk, D);
    __syncthreads();
    float p[2][4], ds[2][4];
    pair_gradients(p, ds, q_tile, k_tile, v_tile, dy_tile, lse + head * s.Tq, D_of_row + head * s.Tq, i0, j0,
                   s, t);
    store_square(ds_square, ds, t);
    __syncwarp();  // a row's 8 threads are in one warp
    for (int n = 0; n < most_D / row_lanes; ++n) {
      const int d = t.lane + row_lanes * n;
      if (d >= D) break;
      for (int j = 0; j < attention_tile; ++j) {
        // dq_i += ds_ij k_j
        for (int a = 0; a < 2; ++a)
          dq_sum[a][n] += ds_square[(t.row + 16 * a) * square_width + j] * k_tile[j * width + d];
      }
    }
    __syncwarp();
  }

  for (int a = 0; a < 2; ++a) {
    const int64_t i = i0 + t.row + 16 * a;
    if (i >= s.Tq) continue;
    for (int n = 0; n < most_D / row_lanes; ++n) {
      const int d = t.lane + row_lanes * n;
      if (d < D) dq[queries.base + i * queries.stride + d] += s.scale * dq_sum[a][n];
    }
  }
}

template <int most_D>
void backward(float* dq, float* dk, float* dv, const float* dy, const float* q, const float* k,
              const float* v, const float* lse, const float* D_of_row, const AttentionShape& s) {
  if (dk || dv) {
    launch_tiles(dk_dv_kernel<most_D>, "attention_dk_dv", s.B * s.K * ceil_divide(s.Tk, attention_tile),
                 tile_bytes(s.D, 4, 2), dk, dv, dy, q, k, v, lse, D_of_row, s);
  }
  if (dq) {
    launch_tiles(dq_kernel<most_D>, "attention_dq", s.B * s.H * ceil_divide(s.Tq, attention_tile),
                 tile_bytes(s.D, 4, 1), dq, dy, q, k, v, lse, D_of_row, s);
  }
}

}  // namespace

void attention_backward_kernels(float* dq, float* dk, float* dv, const float* dy, const float* q,
                                const float* k, const float* v, const float* y, const float* lse,
                                float* workspace, const AttentionShape& s) {
  const int64_t rows = s.B * s.H * s.Tq;
  LAUNCH(row_dots_kernel, unsigned(ceil_divide(rows, 4)), 128, 0, stream(), workspace, dy, y, s);
  check_launch("attention_row_dots");
  if (s.D <= 32) return backward<32>(dq, dk, dv, dy, q, k, v, lse, workspace, s);
  if (s.D <= 64) return backward<64>(dq, dk, dv, dy, q, k, v, lse, workspace, s);
  if (s.D <= 128) return backward<128>(dq, dk, dv, dy, q, k, v, lse, workspace, s);
  backward<256>(dq, dk, dv, dy, q, k, v, lse, workspace, s);
}

}  // namespace chalk::cuda
