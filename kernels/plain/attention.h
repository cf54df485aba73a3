#pragma once
// Attention with loops: the scores are computed twice instead of being stored.
// Contract: kernels/attention.h. Derivation: docs/derivations/attention.md.

#include <limits>

#include "kernels/plain/scalar.h"

namespace chalk::plain {

// s_ij = scale · q_i·k_j
template <class T>
Wide<T> attention_score(const T* q_i, const T* k_j, const AttentionShape& s) {
  Wide<T> dot = 0;
  for (int64_t d = 0; d < s.D; ++d) dot += Wide<T>(q_i[d]) * Wide<T>(k_j[d]);
  return double(s.scale) * dot;
}

// Where query or key/value row `row` of head `head` begins in an array of (B, rows, heads, D).
inline int64_t head_offset(int64_t b, int64_t row, int64_t head, int64_t rows, int64_t heads, int64_t D) {
  return ((b * rows + row) * heads + head) * D;
}

// lse_i = log Σ_j e^s_ij over the allowed keys in one pass (online softmax): the sum is kept relative to the
// largest score met so far and is rescaled whenever a larger one turns up.
// k: row 0 of this head, rows k_stride apart.
template <class T>
Wide<T> attention_lse(const T* q_i, const T* k, int64_t k_stride, KeyRange keys, const AttentionShape& s) {
  if (keys.first >= keys.last) return std::numeric_limits<double>::infinity();
  Wide<T> max = attention_score(q_i, k + keys.first * k_stride, s);
  Wide<T> sum = 1;
  for (int64_t j = keys.first + 1; j < keys.last; ++j) {
    const Wide<T> score = attention_score(q_i, k + j * k_stride, s);
    if (real_part(score) > real_part(max)) {
      // sum = sum · e^(max − score) + 1
      sum = sum * std::exp(max - score) + 1.0;
      max = score;
    } else {
      sum += std::exp(score - max);
    }
  }
  return max + std::log(sum);
}

template <class T>
void attention_forward(T* y, T* lse, const T* q, const T* k, const T* v, const AttentionShape& s) {
  const int64_t capacity = s.kv_capacity > 0 ? s.kv_capacity : s.Tk;
  const int64_t stride = s.K * s.D;  // from one key to the next
  for (int64_t b = 0; b < s.B; ++b) {
    for (int64_t h = 0; h < s.H; ++h) {
      const int64_t kv = head_offset(b, 0, h / (s.H / s.K), capacity, s.K, s.D);
      for (int64_t i = 0; i < s.Tq; ++i) {
        const int64_t qi = head_offset(b, i, h, s.Tq, s.H, s.D);
        const KeyRange keys = allowed_keys(s, i);
        const Wide<T> lse_i = attention_lse(q + qi, k + kv, stride, keys, s);
        lse[(b * s.H + h) * s.Tq + i] = T(lse_i);

        for (int64_t d = 0; d < s.D; ++d) y[qi + d] = 0;
        for (int64_t j = keys.first; j < keys.last; ++j) {
          const T* v_j = v + kv + j * stride;
          // p_ij = e^(s_ij − lse_i)      y_i = Σ_j p_ij v_j
          const Wide<T> p = std::exp(attention_score(q + qi, k + kv + j * stride, s) - lse_i);
          for (int64_t d = 0; d < s.D; ++d) y[qi + d] += T(p * Wide<T>(v_j[d]));
        }
      }
    }
  }
}

// The share of one query i and one allowed key j in the gradients; each pointer is at the row it names.
template <class T>
void attention_backward_pair(T* dq_i, T* dk_j, T* dv_j, const T* dy_i, const T* q_i, const T* k_j,
                             const T* v_j, T lse_i, T D_i, const AttentionShape& s) {
  const Wide<T> p = std::exp(attention_score(q_i, k_j, s) - Wide<T>(lse_i));
  Wide<T> dp = 0;
  for (int64_t d = 0; d < s.D; ++d) dp += Wide<T>(dy_i[d]) * Wide<T>(v_j[d]);
  // ds_ij = p_ij · (dy_i·v_j − D_i)
  const Wide<T> ds = p * (dp - Wide<T>(D_i));
  for (int64_t d = 0; d < s.D; ++d) {
    // dq_i += scale · ds_ij k_j      dk_j += scale · ds_ij q_i      dv_j += p_ij dy_i
    if (dq_i) dq_i[d] += T(double(s.scale) * ds * Wide<T>(k_j[d]));
    if (dk_j) dk_j[d] += T(double(s.scale) * ds * Wide<T>(q_i[d]));
    if (dv_j) dv_j[d] += T(p * Wide<T>(dy_i[d]));
  }
}

template <class T>
void attention_backward(T* dq, T* dk, T* dv, const T* dy, const T* q, const T* k, const T* v, const T* y,
                        const T* lse, T* workspace, const AttentionShape& s) {
  const int64_t capacity = s.kv_capacity > 0 ? s.kv_capacity : s.Tk;
  for (int64_t b = 0; b < s.B; ++b) {
    for (int64_t h = 0; h < s.H; ++h) {
      const int64_t kv_head = h / (s.H / s.K);
      for (int64_t i = 0; i < s.Tq; ++i) {
        const int64_t row = (b * s.H + h) * s.Tq + i;
        const int64_t qi = head_offset(b, i, h, s.Tq, s.H, s.D);

        // D_i = Σ dy_i·y_i, which equals Σ_j p_ij (dy_i·v_j): no second pass over the keys
        Wide<T> dot = 0;
        for (int64_t d = 0; d < s.D; ++d) dot += Wide<T>(dy[qi + d]) * Wide<T>(y[qi + d]);
        workspace[row] = T(dot);

        const KeyRange keys = allowed_keys(s, i);
        for (int64_t j = keys.first; j < keys.last; ++j) {
          const int64_t kj = head_offset(b, j, kv_head, capacity, s.K, s.D);
          attention_backward_pair(dq ? dq + qi : nullptr, dk ? dk + kj : nullptr, dv ? dv + kj : nullptr,
                                  dy + qi, q + qi, k + kj, v + kj, lse[row], workspace[row], s);
        }
      }
    }
  }
}

}  // namespace chalk::plain
