#pragma once
// GPT-2 (Radford et al. 2019), top to bottom: a stack of pre-LayerNorm transformer blocks over learned positions, with
// the output product tied to the token embedding. Parameter names are Hugging Face's without the leading `transformer.`.
//
//   x = wte[ids] + wpe[positions]
//   for each block:  x = x + c_proj(attention(c_attn(ln_1(x))))      x = x + mlp(ln_2(x))
//   logits = ln_f(x) · wteᵀ
//
// Difference from the paper's released model: dropout acts on the embedding and on both residual branches, not on the
// attention weights, which this attention never has in memory.

#include "models/gpt2_config.h"
#include "models/language_model.h"
#include "nn/embedding.h"
#include "nn/layernorm.h"
#include "nn/mlp.h"

namespace chalk {

struct GPT2 : LanguageModel {
  struct Attention : Module {
    Slot c_attn, c_proj;  // C -> 3C (queries, keys, values side by side), C -> C
    int64_t heads;
    const Hooks& hooks;
    std::string prefix;  // of the block, "h.3."

    Attention(const GPT2Config& config, const Hooks& hooks, const std::string& prefix, Device device);
    Tensor forward(const Tensor& x, const BlockContext& context);  // (B, T, C) -> (B, T, C)
    void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
    void visit_slots(const SlotVisitor& visitor) override;
  };

  struct TransformerBlock : Block {
    Slot ln_1;
    Attention attn;
    Slot ln_2, mlp;
    const Hooks& hooks;
    std::string prefix;

    TransformerBlock(const GPT2Config& config, GPT2& model, int64_t i, Device device);
    using Block::forward;
    Tensor forward(const Tensor& x, const BlockContext& context) override;
    void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
    void visit_slots(const SlotVisitor& visitor) override;
  };

  GPT2Config config;
  Embedding wte, wpe;                     // (V, C) tokens, (n_positions, C) positions
  std::vector<std::unique_ptr<Block>> h;  // n_layer blocks
  Slot ln_f, lm_head;                     // lm_head's weight is wte's when tied

  GPT2(const GPT2Config& config, Device device);
  // Fresh weights: N(0, 0.02), the two products that write to the residual stream scaled by 1/√(2L) (paper section 2.3).
  void init(uint64_t seed);

  Tensor embed(const IntTensor& ids, int64_t first_position) override;
  std::vector<std::unique_ptr<Block>>& blocks() override { return h; }
  Tensor head(const Tensor& x) override;
  const RopeTable* rope_table(int64_t, int64_t) override { return nullptr; }

  const char* architecture() const override { return "gpt2"; }
  std::string block_prefix(int64_t i) const override { return "h." + std::to_string(i) + "."; }
  int64_t context_length() const override { return config.n_positions; }
  int64_t vocab_size() const override { return config.vocab_size; }
  int64_t width() const override { return config.n_embd; }
  Device device() const override { return wte.weight.device(); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
  void visit_slots(const SlotVisitor& visitor) override;
};

}  // namespace chalk
