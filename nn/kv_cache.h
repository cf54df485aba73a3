#pragma once
// The KV cache: keys and values of the tokens so far, so that each new token costs one row instead of a whole pass.
//
// One LayerCache per block, behind an interface of one verb, so that other kinds can stand in: FloatLayerCache keeps
// floats; PrefixLayerCache prepends trained rows (prefix tuning) and lets gradients through; a paper may add one that
// keeps codes and gives back dequantised rows.

#include <memory>
#include <vector>

#include "autograd/ops.h"

namespace chalk {

// The rows to attend to: the first `length` rows of k and v (B, capacity, K·D).
struct KeysValues {
  Tensor k, v;
  int64_t length = 0;
};

struct LayerCache {
  virtual ~LayerCache() = default;
  // Takes the rows of the new tokens, k and v (B, T, K·D), and gives back everything they may look at, themselves last.
  virtual KeysValues extend(const Tensor& k, const Tensor& v) = 0;
  virtual void truncate(int64_t length) = 0;  // forgets all but the first `length` rows
};

struct FloatLayerCache : LayerCache {
  explicit FloatLayerCache(int64_t capacity) : capacity(capacity) {}
  KeysValues extend(const Tensor& k,
                    const Tensor& v) override;  // throws Error when the cache is full, or outside NoGrad
  void truncate(int64_t length) override;

  int64_t capacity;
  Tensor keys, values;  // (B, capacity, K·D), allocated at the first extend
  int64_t length = 0;
};

// Rows that stand before position 0 of every sequence, k and v (1 or B, P, K·D). Differentiable, keeps nothing.
struct PrefixLayerCache : LayerCache {
  PrefixLayerCache(Tensor prefix_k, Tensor prefix_v)
      : prefix_k(std::move(prefix_k)), prefix_v(std::move(prefix_v)) {}
  KeysValues extend(const Tensor& k, const Tensor& v) override;
  void truncate(int64_t) override {}

  Tensor prefix_k, prefix_v;
};

struct KVCache {
  std::vector<std::unique_ptr<LayerCache>> layers;  // one per block
  int64_t position = 0;                             // tokens seen: the position of the next one

  // Forgets all tokens from `position` on. prepended = rows that stand before position 0.
  void truncate(int64_t new_position, int64_t prepended = 0);
};

KVCache make_kv_cache(int64_t blocks, int64_t capacity);

}  // namespace chalk
