// Attention with SIMD, in blocks of queries x keys (FlashAttention-2). Contract: kernels/attention.h.
//
// A block of scores is a small matrix product, so it runs on the tile of kernels/cpu/tile.h: keys and values
// are packed into panels on the stack, block by block, and the scores of a block never leave the cache. A
// task is one (b, head, block of queries) in forward and one (b, key/value head) in backward; no two tasks
// write the same number, and each adds in a fixed order, so the result does not depend on the number of
// threads.

#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile.h"

namespace chalk::cpu {
using simd::mul_add;
using simd::set;
using simd::V;

static constexpr int64_t block_keys = 64;
static constexpr int64_t block_queries =
    16 * tile_rows;  // of one task of forward; packed keys serve them all
static constexpr int64_t backward_queries = 64;
static constexpr int64_t widest_head = 256;  // wider ones take the slow paths: panels must fit on the stack
static constexpr int64_t few_queries = 8;    // below this packing does not pay (decoding: 1)
static constexpr int64_t panel_floats = block_keys * widest_head;

// A part first ≤ i < last of a block; KeyRange relative to the block.
static KeyRange clamped(KeyRange range, int64_t start, int64_t count) {
  const int64_t first = std::clamp<int64_t>(range.first - start, 0, count);
  return {first, std::clamp<int64_t>(range.last - start, first, count)};
}

// y (rows, columns) [+]= a (rows, K) · packed (K, columns) for one tile of rows, where only the k of `range`
// count.
static void multiply_rows(float* y, int64_t y_width, View a, const float* packed, int64_t rows,
                          int64_t columns, int64_t K, KeyRange range, bool add) {
  for (int64_t c = 0; c < columns; c += tile_columns) {
    multiply_edge_tile(y + c, y_width, a.at(0, range.first), packed + c * K + range.first * tile_columns,
                       range.last - range.first, rows, std::min(tile_columns, columns - c), {add, nullptr});
  }
}

// packed = the panels of b (K, columns).
static void pack(float* packed, View b, int64_t K, int64_t columns) {
  for (int64_t c = 0; c < columns; c += tile_columns) {
    pack_panel(packed + c * K, b.at(0, c), K, std::min(tile_columns, columns - c));
  }
}

static View transposed(View x) {
  return {x.x, x.column, x.row};
}

// Where the rows of one head lie. q, y, dq, dy: (B, Tq, H, D). k, v, dk, dv: (B, capacity, K, D).
struct Heads {
  const AttentionShape& s;
  int64_t q_row = s.H * s.D, kv_row = s.K * s.D;
  int64_t capacity = s.kv_capacity > 0 ? s.kv_capacity : s.Tk;
  int64_t q_offset(int64_t b, int64_t h) const { return (b * s.Tq * s.H + h) * s.D; }
  int64_t kv_offset(int64_t b, int64_t kv_head) const { return (b * capacity * s.K + kv_head) * s.D; }
  int64_t group() const { return s.H / s.K; }  // query heads per key/value head
};

// The running maximum m and sum l of e^(s − m) of one query (online softmax).
struct RunningSoftmax {
  float max = -std::numeric_limits<float>::infinity(), sum = 0;

  // scores[0 … count) become p = e^(scale · s − m) in `allowed`, else 0, with the new maximum m of scale · s.
  // Returns e^(m_old − m_new), by which everything summed so far must be multiplied.
  float absorb(float* scores, KeyRange allowed, int64_t count, float scale) {
    std::fill(scores, scores + allowed.first, 0.0f);
    std::fill(scores + allowed.last, scores + count, 0.0f);
    if (allowed.first == allowed.last) return 1;

    float* s = scores + allowed.first;
    const int64_t n = allowed.last - allowed.first;
    const V lowest = set(-std::numeric_limits<float>::infinity());
    V best = lowest;
    simd::over_span(n, [&](int64_t c, auto part) {
      best = simd::hn::Max(best, part.keep(set(scale) * part.load(s + c), lowest));
    });
    const float new_max = std::max(max, simd::max_of_lanes(best));
    const float shrink = new_max == max ? 1 : std::exp(max - new_max);  // 0 for the first keys
    V total = simd::zero();
    simd::over_span(n, [&](int64_t c, auto part) {
      const V p = simd::exp(set(scale) * part.load(s + c) - set(new_max));
      part.store(s + c, p);
      total = total + part.keep(p, simd::zero());
    });
    sum = sum * shrink + simd::sum_of_lanes(total);
    max = new_max;
    return shrink;
  }

  // log Σ e^s; +∞ when there was no key, so that backward's e^(s − lse) is 0.
  float lse() const { return sum > 0 ? max + std::log(sum) : std::numeric_limits<float>::infinity(); }
};

// y_i /= Σ p, and lse_i.
static void finish_query(float* y_i, float* lse_i, const RunningSoftmax& softmax, int64_t D) {
  const V inverse = set(softmax.sum > 0 ? 1 / softmax.sum : 0.0f);
  simd::map(
      y_i, D, [&](V y) { return y * inverse; }, y_i);
  *lse_i = softmax.lse();
}

// One tile of queries, i … i + rows − 1, against the block of keys j0 … j0 + keys − 1.
static void forward_tile(float* y, RunningSoftmax* softmax, View q, const float* k_panels,
                         const float* v_panels, int64_t i, int64_t rows, int64_t j0, int64_t keys,
                         const Heads& heads) {
  const AttentionShape& s = heads.s;
  // The last query sees farthest, the first one farthest back: outside of that there is nothing to compute.
  const KeyRange seen = clamped({allowed_keys(s, i).first, allowed_keys(s, i + rows - 1).last}, j0, keys);
  if (seen.first == seen.last) return;
  alignas(64) float p[tile_rows * block_keys];
  // s = q · kᵀ
  multiply_rows(p, block_keys, q, k_panels, rows, seen.last, s.D, {0, s.D}, false);
  // p = e^(scale · s − m), and y shrinks when the maximum m grows
  for (int64_t r = 0; r < rows; ++r) {
    const KeyRange allowed = clamped(allowed_keys(s, i + r), j0, seen.last);
    const float shrink = softmax[r].absorb(p + r * block_keys, allowed, seen.last, s.scale);
    float* y_i = y + r * heads.q_row;
    if (shrink != 1)
      simd::map(
          y_i, s.D, [&](V y) { return y * set(shrink); }, y_i);
  }
  // y += p · v
  multiply_rows(y, heads.q_row, {p, block_keys, 1}, v_panels, rows, s.D, keys, seen, true);
}

// Queries i0 … i0 + rows − 1 of one head. y, q: row 0 of that head, lse: number 0 of it; k, v: row 0 of its
// kv head.
static void forward_block(float* y, float* lse, const float* q, const float* k, const float* v, int64_t i0,
                          int64_t rows, const Heads& heads) {
  const AttentionShape& s = heads.s;
  alignas(64) float k_panels[panel_floats], v_panels[panel_floats];
  RunningSoftmax softmax[block_queries];
  for (int64_t r = 0; r < rows; ++r) std::fill_n(y + (i0 + r) * heads.q_row, s.D, 0.0f);

  // Causal: no block beyond the last query's last key is ever looked at; window: none before the first
  // query's first.
  const int64_t end = allowed_keys(s, i0 + rows - 1).last;
  for (int64_t j0 = allowed_keys(s, i0).first; j0 < end; j0 += block_keys) {
    const int64_t keys = std::min(block_keys, end - j0);
    pack(k_panels, transposed({k + j0 * heads.kv_row, heads.kv_row, 1}), s.D, keys);
    pack(v_panels, {v + j0 * heads.kv_row, heads.kv_row, 1}, keys, s.D);
    for (int64_t r = 0; r < rows; r += tile_rows) {
      const int64_t row = (i0 + r) * heads.q_row;
      forward_tile(y + row, softmax + r, {q + row, heads.q_row, 1}, k_panels, v_panels, i0 + r,
                   std::min(tile_rows, rows - r), j0, keys, heads);
    }
  }
  for (int64_t r = 0; r < rows; ++r) finish_query(y + (i0 + r) * heads.q_row, lse + i0 + r, softmax[r], s.D);
}

// One query, key by key: reads the cache once and packs nothing. y_i, q_i: its row.
static void forward_query(float* y_i, float* lse_i, const float* q_i, const float* k, const float* v,
                          KeyRange allowed, const Heads& heads) {
  const int64_t D = heads.s.D, stride = heads.kv_row;
  float p[block_keys];
  RunningSoftmax softmax;
  std::fill_n(y_i, D, 0.0f);
  for (int64_t j0 = allowed.first; j0 < allowed.last; j0 += block_keys) {
    const int64_t keys = std::min(block_keys, allowed.last - j0);
    // s_j = q · k_j
    for (int64_t j = 0; j < keys; ++j) p[j] = simd::dot(q_i, k + (j0 + j) * stride, D);
    const float shrink = softmax.absorb(p, {0, keys}, keys, heads.s.scale);
    // y = y · shrink + Σ p_j v_j
    simd::over_span(D, [&](int64_t d, auto part) {
      V sum = set(shrink) * part.load(y_i + d);
      for (int64_t j = 0; j < keys; ++j) sum = mul_add(set(p[j]), part.load(v + (j0 + j) * stride + d), sum);
      part.store(y_i + d, sum);
    });
  }
  finish_query(y_i, lse_i, softmax, D);
}

void attention_forward(float* y, float* lse, const float* q, const float* k, const float* v,
                       const AttentionShape& shape) {
  const Heads heads{shape};
  const bool by_query = shape.Tq < few_queries || shape.D > widest_head;
  const int64_t rows = by_query ? 1 : block_queries;
  const int64_t blocks = (shape.Tq + rows - 1) / rows;
  // A multiply-add for each of Tk · D numbers of k and of v per query.
  const int64_t grain = grain_rows(memory_grain, rows * shape.Tk * shape.D / 4);
  parallel_for(shape.B * shape.H * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t i0 = task % blocks * rows, h = task / blocks % shape.H, b = task / blocks / shape.H;
      const int64_t kv = heads.kv_offset(b, h / heads.group()), qo = heads.q_offset(b, h);
      float* lse_h = lse + (b * shape.H + h) * shape.Tq;
      if (by_query) {
        const int64_t row = qo + i0 * heads.q_row;
        forward_query(y + row, lse_h + i0, q + row, k + kv, v + kv, allowed_keys(shape, i0), heads);
      } else {
        forward_block(y + qo, lse_h, q + qo, k + kv, v + kv, i0, std::min(rows, shape.Tq - i0), heads);
      }
    }
  });
}

// ---- backward

// What one task of backward works on: row 0 of a query head and of its key/value head; dq, dk, dv may be
// null.
struct BackwardHead {
  float *dq, *dk, *dv;
  const float *dy, *q, *k, *v, *lse, *D_sums;  // D_i = Σ dy_i·y_i
};

// The panels of one block of keys, made once and used by every block of queries.
struct KeyPanels {
  alignas(64) float k_transposed[panel_floats], v_transposed[panel_floats], k[panel_floats];
};

// p and ds of one query and a block of keys, from s = q · kᵀ in p and dp = dy · vᵀ in ds:
// p = e^(scale · s − lse), ds = scale · p · (dp − D_sum), both 0 where masked.
static void backward_scores(float* p, float* ds, KeyRange allowed, int64_t keys, float lse, float D_sum,
                            float scale) {
  for (float* row : {p, ds}) {
    std::fill(row, row + allowed.first, 0.0f);
    std::fill(row + allowed.last, row + keys, 0.0f);
  }
  simd::over_span(allowed.last - allowed.first, [&](int64_t i, auto part) {
    const int64_t c = allowed.first + i;
    const V p_c = simd::exp(set(scale) * part.load(p + c) - set(lse));
    part.store(p + c, p_c);
    part.store(ds + c, set(scale) * p_c * (part.load(ds + c) - set(D_sum)));
  });
}

// Queries i0 … against keys j0 …: their share in dq, dk and dv.
static void backward_block(const BackwardHead& head, const KeyPanels& panels, int64_t i0, int64_t j0,
                           int64_t rows, int64_t keys, const Heads& heads) {
  const AttentionShape& s = heads.s;
  const int64_t D = s.D, q_row = heads.q_row, kv_row = heads.kv_row;
  alignas(64) float p[backward_queries * block_keys], ds[backward_queries * block_keys], packed[panel_floats];
  const View q = {head.q + i0 * q_row, q_row, 1}, dy = {head.dy + i0 * q_row, q_row, 1};
  const View p_view = {p, block_keys, 1}, ds_view = {ds, block_keys, 1};
  for (int64_t r = 0; r < rows; r += tile_rows) {
    const int64_t tile = std::min(tile_rows, rows - r), i = i0 + r;
    const KeyRange seen = clamped({allowed_keys(s, i).first, allowed_keys(s, i + tile - 1).last}, j0, keys);
    float *p_r = p + r * block_keys, *ds_r = ds + r * block_keys;
    // s = q · kᵀ      dp = dy · vᵀ
    multiply_rows(p_r, block_keys, q.at(r, 0), panels.k_transposed, tile, seen.last, D, {0, D}, false);
    multiply_rows(ds_r, block_keys, dy.at(r, 0), panels.v_transposed, tile, seen.last, D, {0, D}, false);
    for (int64_t n = 0; n < tile; ++n) {
      backward_scores(p_r + n * block_keys, ds_r + n * block_keys, clamped(allowed_keys(s, i + n), j0, keys),
                      keys, head.lse[i + n], head.D_sums[i + n], s.scale);
    }
    // dq += ds · k
    if (head.dq)
      multiply_rows(head.dq + i * q_row, q_row, ds_view.at(r, 0), panels.k, tile, D, keys, seen, true);
  }
  // dv += pᵀ · dy      dk += dsᵀ · q. The queries before `first` see none of the keys of the tile.
  for (const bool for_v : {true, false}) {
    float* out = for_v ? head.dv : head.dk;
    if (!out) continue;
    pack(packed, for_v ? dy : q, rows, D);
    int64_t first = 0;
    for (int64_t c = 0; c < keys; c += tile_rows) {
      while (first < rows && allowed_keys(s, i0 + first).last <= j0 + c) ++first;
      multiply_rows(out + (j0 + c) * kv_row, kv_row, transposed(for_v ? p_view : ds_view).at(c, 0), packed,
                    std::min(tile_rows, keys - c), D, rows, {first, rows}, true);
    }
  }
}

// All blocks of one query head: key blocks outside, so that each is packed once.
static void backward_head(const BackwardHead& head, const Heads& heads) {
  const AttentionShape& s = heads.s;
  KeyPanels panels;
  for (int64_t j0 = 0; j0 < s.Tk; j0 += block_keys) {
    const int64_t keys = std::min(block_keys, s.Tk - j0);
    const View k = {head.k + j0 * heads.kv_row, heads.kv_row, 1};
    const View v = {head.v + j0 * heads.kv_row, heads.kv_row, 1};
    pack(panels.k_transposed, transposed(k), s.D, keys);
    pack(panels.v_transposed, transposed(v), s.D, keys);
    pack(panels.k, k, keys, s.D);
    for (int64_t i0 = 0; i0 < s.Tq; i0 += backward_queries) {
      const int64_t rows = std::min(backward_queries, s.Tq - i0);
      const bool too_early = allowed_keys(s, i0 + rows - 1).last <= j0;
      const bool too_late = allowed_keys(s, i0).first >= j0 + keys;
      if (too_early || too_late) continue;
      backward_block(head, panels, i0, j0, rows, keys, heads);
    }
  }
}

void attention_backward(float* dq, float* dk, float* dv, const float* dy, const float* q, const float* k,
                        const float* v, const float* y, const float* lse, float* workspace,
                        const AttentionShape& s) {
  if (s.D > widest_head) {  // no model has such heads; correct is enough
    plain::attention_backward(dq, dk, dv, dy, q, k, v, y, lse, workspace, s);
    return;
  }
  const Heads heads{s};
  // D_i = Σ dy_i·y_i
  parallel_for(s.B * s.Tq, grain_rows(memory_grain, s.H * s.D), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t h = 0; h < s.H; ++h) {
        const int64_t row = n * heads.q_row + h * s.D;
        workspace[(n / s.Tq * s.H + h) * s.Tq + n % s.Tq] = simd::dot(dy + row, y + row, s.D);
      }
    }
  });
  const int64_t grain = grain_rows(memory_grain, heads.group() * s.Tq * s.Tk * s.D / 4);
  parallel_for(s.B * s.K, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / s.K, kv_head = task % s.K, kv = heads.kv_offset(b, kv_head);
      for (int64_t g = 0; g < heads.group(); ++g) {
        const int64_t h = kv_head * heads.group() + g, qo = heads.q_offset(b, h), row = (b * s.H + h) * s.Tq;
        const auto shifted = [](float* x, int64_t offset) { return x ? x + offset : nullptr; };
        const BackwardHead head = {shifted(dq, qo), shifted(dk, kv), shifted(dv, kv), dy + qo,        q + qo,
                                   k + kv,          v + kv,          lse + row,       workspace + row};
        backward_head(head, heads);
      }
    }
  });
}

}  // namespace chalk::cpu
