#pragma once
// What the three FlashAttention kernels share: the shape of a tile, which part of it a thread owns, loading, scores.
//
// A tile is 32 queries by 32 keys, worked on by 128 threads. Thread t owns rows t / 8 and t / 8 + 16 and, of each, the columns
// t % 8 + 8 n: the 8 threads of a row are neighbouring lanes of one warp, so a row's maximum and sum are three shuffles.

#include "kernels/attention.h"
#include "kernels/cuda/block.h"

namespace chalk::cuda {

constexpr int attention_tile = 32, attention_threads = 128, row_lanes = 8;
constexpr int attention_most_D = 256;

struct TileThread {
  int row, lane;  // rows row and row + 16; columns lane + 8 n
};
__device__ inline TileThread tile_thread() {
  return {int(threadIdx.x) / row_lanes, int(threadIdx.x) % row_lanes};
}

// Where the numbers of one head of one sequence lie: row i begins at base + i · stride.
struct HeadRows {
  int64_t base, stride;
};
__device__ inline HeadRows query_rows(const AttentionShape& s, int64_t b, int64_t h) {
  return {(b * s.Tq * s.H + h) * s.D, s.H * s.D};
}
__device__ inline HeadRows key_rows(const AttentionShape& s, int64_t b, int64_t kv_head) {
  const int64_t capacity = s.kv_capacity > 0 ? s.kv_capacity : s.Tk;
  return {(b * capacity * s.K + kv_head) * s.D, s.K * s.D};
}

// Rows first … first + 31 of `from` to shared memory, D + 1 apart: an odd stride lets 32 lanes read 32 rows without bank
// conflicts. Rows from `end` on become 0.
__device__ inline void load_rows(float* to, const float* from, HeadRows rows, int64_t first, int64_t end,
                                 int D) {
  for (int n = threadIdx.x; n < attention_tile * D; n += attention_threads) {
    const int row = n / D, d = n % D;
    const int64_t i = first + row;
    to[row * (D + 1) + d] = i < end ? from[rows.base + i * rows.stride + d] : 0.0f;
  }
}

// dot[a][n] = Σ_d x_row · z_column for the thread's 2 × 4 pairs; x, z are tiles of load_rows.
__device__ inline void tile_dots(float (&dot)[2][4], const float* x, const float* z, int D, TileThread t) {
  for (int a = 0; a < 2; ++a) {
    for (int n = 0; n < 4; ++n) dot[a][n] = 0;
  }
  const float *x0 = x + t.row * (D + 1), *x1 = x0 + 16 * (D + 1), *z0 = z + t.lane * (D + 1);
  for (int d = 0; d < D; ++d) {
    for (int n = 0; n < 4; ++n) {
      const float z_d = z0[row_lanes * n * (D + 1) + d];
      dot[0][n] += x0[d] * z_d;
      dot[1][n] += x1[d] * z_d;
    }
  }
}

// Do queries i0 … i0 + 31 and keys j0 … j0 + 31 meet at all? Both ends of the allowed range grow with i.
__device__ inline bool tiles_meet(const AttentionShape& s, int64_t i0, int64_t j0) {
  const int64_t i_last = (i0 + attention_tile < s.Tq ? i0 + attention_tile : s.Tq) - 1;
  return allowed_keys(s, i_last).last > j0 && allowed_keys(s, i0).first < j0 + attention_tile;
}
__device__ inline bool may_see(const AttentionShape& s, int64_t i, int64_t j) {
  const KeyRange keys = allowed_keys(s, i);
  return i < s.Tq && j >= keys.first && j < keys.last;
}

// Bytes of `tiles` (32, D + 1) tiles and `squares` (32, 33) ones.
inline size_t tile_bytes(int64_t D, int tiles, int squares) {
  return sizeof(float) * attention_tile *
         (size_t(tiles) * size_t(D + 1) + size_t(squares) * (attention_tile + 1));
}

// Launches kernel with that much dynamic shared memory, above the 48 KB that need no permission too.
template <class Kernel, class... A>
void launch_tiles(Kernel* kernel, const char* name, int64_t blocks, size_t bytes, A... arguments) {
  if (bytes > (48 << 10)) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)), name);
  }
  LAUNCH(kernel, unsigned(blocks), attention_threads, bytes, stream(), arguments...);
  check_launch(name);
}

}  // namespace chalk::cuda
