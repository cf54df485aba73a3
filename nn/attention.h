#pragma once
// The part of self-attention that has no parameters: from queries, keys and values to the heads' outputs, through the
// hooks, the rotation and the cache. The products around it are slots of the model (models/gpt2.h, models/llama.h).

#include <string>

#include "autograd/ops.h"
#include "nn/hooks.h"
#include "nn/kv_cache.h"

namespace chalk {

// What a block needs besides x. The model fills it once per forward pass.
struct BlockContext {
  const RopeTable* rope = nullptr;  // LLaMA: angles of this pass's positions; null for learned positions
  LayerCache* cache = nullptr;      // null: attend to this pass's own tokens only
};

// heads (B, T, H·D) from q (B, T, H·D), k and v (B, T, K·D). prefix is the block's ("h.3.").
inline Tensor self_attention(Tensor q, Tensor k, Tensor v, const AttentionOptions& options,
                             const BlockContext& context, const Hooks& hooks, const std::string& prefix) {
  q = hooks.pass(prefix, "attn.q", q);
  k = hooks.pass(prefix, "attn.k", k);
  v = hooks.pass(prefix, "attn.v", v);
  if (context.rope) {
    q = rope(q, *context.rope, options.heads);
    k = rope(k, *context.rope, options.kv_heads);
  }
  Tensor heads;
  if (!context.cache) {
    heads = attention(q, k, v, options);
  } else {
    const KeysValues all = context.cache->extend(k, v);
    const bool whole = all.length == all.k.dim(1);  // no spare rows: the op that records history can be used
    heads =
        whole ? attention(q, all.k, all.v, options) : attention_cached(q, all.k, all.v, all.length, options);
  }
  return hooks.pass(prefix, "attn.heads", heads);
}

}  // namespace chalk
