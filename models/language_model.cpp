// The forward pass common to all models.

#include "models/language_model.h"

#include "autograd/check.h"
#include "autograd/random.h"

namespace chalk {

Tensor Block::forward(const Tensor& x) {
  return forward(x, BlockContext{.rope = model->rope_table(0, x.dim(1))});
}

void LanguageModel::declare_hooks(const char* attention_norm, const char* mlp_norm, const char* final_norm) {
  for (size_t i = 0; i < blocks().size(); ++i) {
    for (const char* name : {"resid_pre", attention_norm, "attn.q", "attn.k", "attn.v", "attn.heads", "attn.out",
                             "resid_mid", mlp_norm, "mlp.hidden", "mlp.out", "resid_post"}) {
      hooks.names.push_back(block_prefix(int64_t(i)) + name);
    }
  }
  hooks.names.push_back(final_norm);
}

Tensor LanguageModel::drop(const Tensor& x, double p) const {
  return training && p > 0 ? dropout(x, float(p), dropout_seeds().next()) : x;
}

Block& LanguageModel::block(int64_t i) {
  check(i >= 0 && i < int64_t(blocks().size()), "block({}): the model has {} blocks", i, blocks().size());
  return *blocks()[size_t(i)];
}

Tensor LanguageModel::forward_blocks(const IntTensor& ids, KVCache* cache) {
  check(ids.shape.size() == 2 && ids.shape[1] > 0, "forward: ids have shape {}, expected (B, T)",
        to_string(ids.shape));
  const int64_t T = ids.shape[1], first = cache ? cache->position : 0;
  if (first + T > context_length()) {
    throw UsageError(
        fmt::format("{} tokens do not fit the model's context of {}", first + T, context_length()));
  }
  check(!cache || cache->layers.size() == blocks().size(),
        "forward: the cache has {} layers, the model {} blocks", cache ? cache->layers.size() : 0,
        blocks().size());
  Tensor x = embed(ids, first);  // (B, T, C)
  const RopeTable* rope = rope_table(first, T);
  for (size_t i = 0; i < blocks().size(); ++i) {
    const BlockContext block_context{.rope = rope, .cache = cache ? cache->layers[i].get() : nullptr};
    Block& block = *blocks()[i];
    if (checkpoint_blocks && training && !cache) {
      x = checkpoint([&block](const Tensor& input) { return block.forward(input); }, x);
    } else {
      x = block.forward(x, block_context);
    }
  }
  if (cache) cache->position += T;
  return x;
}

Tensor LanguageModel::forward(const IntTensor& ids, KVCache* cache) {
  return head(forward_blocks(ids, cache));
}

KVCache LanguageModel::make_cache(int64_t capacity) {
  return make_kv_cache(int64_t(blocks().size()), capacity > 0 ? capacity : context_length());
}

}  // namespace chalk
