#pragma once
// What GPT-2 and LLaMA have in common, and all that training, sampling, evaluation and the papers know of a model:
// it runs whole, or in pieces (embed, block by block, head); its parameters, slots and hooks have names.

#include <memory>
#include <string>
#include <vector>

#include "nn/attention.h"
#include "nn/hooks.h"
#include "nn/kv_cache.h"
#include "nn/slots.h"

namespace chalk {

// One transformer block. forward() alone sees positions 0 … T−1 and no cache: enough to go block by block.
struct Block : Module {
  virtual Tensor forward(const Tensor& x, const BlockContext& context) = 0;  // (B, T, C) -> (B, T, C)
  Tensor forward(const Tensor& x);

  struct LanguageModel* model = nullptr;  // for the positions of the one-argument forward
};

struct LanguageModel : Module {
  LanguageModel() = default;
  LanguageModel(const LanguageModel&) = delete;  // blocks point back at hooks

  Hooks hooks;            // nn/hooks.h lists the names
  bool training = false;  // dropout is on
  bool checkpoint_blocks =
      false;  // training keeps only each block's input and runs the block again in backward

  // ---- in pieces ----
  virtual Tensor embed(const IntTensor& ids, int64_t first_position) = 0;  // ids (B, T) -> (B, T, C)
  virtual std::vector<std::unique_ptr<Block>>& blocks() = 0;
  Block& block(int64_t i);
  virtual Tensor head(const Tensor& x) = 0;  // final norm and output product: (B, T, C) -> (B, T, V)
  // Angles for positions first … first + T − 1; an empty table for learned positions.
  virtual const RopeTable* rope_table(int64_t first_position, int64_t T) = 0;

  // ---- whole ----
  // Logits (B, T, V) of ids (B, T). With a cache, the ids are the next T tokens after those the cache has seen.
  // Throws UsageError when the positions run past the context, Error on ids outside the vocabulary.
  Tensor forward(const IntTensor& ids, KVCache* cache = nullptr);
  // The residual stream after the last block, (B, T, C): forward without the head.
  Tensor forward_blocks(const IntTensor& ids, KVCache* cache = nullptr);
  KVCache make_cache(int64_t capacity = 0);  // capacity 0 = the context

  // ---- for the models' own code ----
  // The closed list of nn/hooks.h under every block's prefix, with the names of its two norms, then the final norm's.
  void declare_hooks(const char* attention_norm, const char* mlp_norm, const char* final_norm);
  Tensor drop(const Tensor& x, double p) const;  // dropout with probability p while training

  // ---- facts ----
  virtual const char* architecture() const = 0;           // "gpt2", "llama"
  virtual std::string block_prefix(int64_t i) const = 0;  // "h.3.", "layers.3."
  virtual int64_t context_length() const = 0;
  virtual int64_t vocab_size() const = 0;
  virtual int64_t width() const = 0;  // C
  virtual Device device() const = 0;
};

}  // namespace chalk
