#pragma once
// Causal softmax attention without a T × T matrix in memory (FlashAttention-2: Dao 2023; online softmax: Milakov &
// Gimelshein 2018). Heads lie side by side in a row, so the output of a linear layer is used as it is.
//
//   s_ij = scale · q_i·k_j  for allowed j      p_ij = e^(s_ij − lse_i)      y_i = Σ_j p_ij v_j
//   query i stands at position i + (Tk − Tq) of the keys; it may see j ≤ that position (causal), and with a window W
//   only the last W of them. Query head h reads key/value head h / (H / K): K = H is MHA, K = 1 is MQA, between is GQA.
//
// Backward (FlashAttention-2 section 3.1.2), with D_i = Σ dy_i·y_i:
//   ds_ij = p_ij · (dy_i·v_j − D_i)     dq_i += scale Σ_j ds_ij k_j     dk_j += scale Σ_i ds_ij q_i     dv_j += Σ_i p_ij dy_i
// It adds (+=); dq, dk, dv may be null. A query with no allowed key gives y = 0 and lse = +inf (so p = 0 in backward).
// Decoding is the same kernel with Tq = 1 and k, v pointing into a KV cache of kv_capacity ≥ Tk rows per batch entry.

#include <algorithm>
#include <cstdint>

namespace chalk {
struct AttentionShape {
  int64_t B, Tq, Tk, H, K, D;
  float scale;  // 1/√D by convention
  bool causal = true;
  int64_t window = 0;       // keys a query may see, itself included; 0 = all
  int64_t kv_capacity = 0;  // rows per batch entry of k and v; 0 = Tk
};

// The keys first ≤ j < last that query i may see; none if first ≥ last.
struct KeyRange {
  int64_t first, last;
};
constexpr KeyRange allowed_keys(const AttentionShape& s, int64_t i) {
  const int64_t position = i + (s.Tk - s.Tq);
  const int64_t first = s.window > 0 ? std::max<int64_t>(0, position - s.window + 1) : 0;
  const int64_t last = s.causal ? std::min(s.Tk, position + 1) : s.Tk;
  return {first, last};
}

// Bytes of scratch of attention_backward on every backend: D_i for each query and head.
inline int64_t attention_backward_workspace(const AttentionShape& s) {
  return s.B * s.H * s.Tq * int64_t(sizeof(float));
}

namespace plain {
template <class T>
void attention_forward(T* y,        // (B, Tq, H, D)
                       T* lse,      // (B, H, Tq) log Σ exp of each row of scores, for backward
                       const T* q,  // (B, Tq, H, D)
                       const T* k,  // (B, kv_capacity, K, D), the first Tk rows are read
                       const T* v,  // (B, kv_capacity, K, D)
                       const AttentionShape& shape);
template <class T>
void attention_backward(T* dq, T* dk, T* dv,  // shapes of q, k, v
                        const T* dy,          // (B, Tq, H, D)
                        const T* q, const T* k, const T* v, const T* y, const T* lse,
                        T* workspace,  // attention_backward_workspace(shape) bytes
                        const AttentionShape& shape);
}  // namespace plain

namespace cpu {
void attention_forward(float* y, float* lse, const float* q, const float* k, const float* v,
                       const AttentionShape& shape);
void attention_backward(float* dq, float* dk, float* dv, const float* dy, const float* q, const float* k,
                        const float* v, const float* y, const float* lse, float* workspace,
                        const AttentionShape& shape);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void attention_forward(float* y, float* lse, const float* q, const float* k, const float* v,
                       const AttentionShape& shape);
void attention_backward(float* dq, float* dk, float* dv, const float* dy, const float* q, const float* k,
                        const float* v, const float* y, const float* lse, float* workspace,
                        const AttentionShape& shape);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/attention.h"
