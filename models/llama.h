#pragma once
// LLaMA 1/2/3 (Touvron et al. 2023a/b, Dubey et al. 2024), top to bottom; by configuration also Mistral (sliding window)
// and Qwen2 (biases on q, k, v). Parameter names are Hugging Face's without the leading `model.`.
//
//   x = embed_tokens[ids]
//   for each block:  x = x + o_proj(attention(rope(q_proj(n)), rope(k_proj(n)), v_proj(n))),  n = input_layernorm(x)
//                    x = x + mlp(post_attention_layernorm(x)),   mlp(n) = down_proj(silu(gate_proj(n)) · up_proj(n))
//   logits = lm_head(norm(x))
//
// Against GPT-2: RMSNorm instead of LayerNorm, rotated queries and keys instead of learned positions, three products
// with a gate instead of two around a GELU, fewer key/value heads than query heads (GQA), no biases.

#include <map>

#include "models/language_model.h"
#include "models/llama_config.h"
#include "nn/embedding.h"
#include "nn/mlp.h"
#include "nn/rmsnorm.h"

namespace chalk {

struct Llama : LanguageModel {
  struct Attention : Module {
    Slot q_proj, k_proj, v_proj, o_proj;  // C -> H·D, C -> K·D twice, H·D -> C
    AttentionOptions options;
    const Hooks& hooks;
    std::string prefix;  // of the block, "layers.3."

    Attention(const LlamaConfig& config, const Hooks& hooks, const std::string& prefix, Device device);
    Tensor forward(const Tensor& x, const BlockContext& context);  // (B, T, C) -> (B, T, C)
    void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
    void visit_slots(const SlotVisitor& visitor) override;
  };

  struct TransformerBlock : Block {
    Attention self_attn;
    Slot mlp, input_layernorm, post_attention_layernorm;
    const Hooks& hooks;
    std::string prefix;

    TransformerBlock(const LlamaConfig& config, Llama& model, int64_t i, Device device);
    using Block::forward;
    Tensor forward(const Tensor& x, const BlockContext& context) override;
    void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
    void visit_slots(const SlotVisitor& visitor) override;
  };

  LlamaConfig config;
  Embedding embed_tokens;                      // (V, C)
  std::vector<std::unique_ptr<Block>> layers;  // num_hidden_layers blocks
  Slot norm, lm_head;                          // lm_head's weight is embed_tokens' when tied

  Llama(const LlamaConfig& config, Device device);
  struct Init {
    float matrices = 0.02f, embedding = 0.02f;  // standard deviations
  };
  // Fresh weights: N(0, std), the two products that write to the residual stream scaled by 1/√(2L).
  void init(uint64_t seed, Init std);
  void init(uint64_t seed) { init(seed, Init{}); }

  Tensor embed(const IntTensor& ids, int64_t first_position) override;
  std::vector<std::unique_ptr<Block>>& blocks() override { return layers; }
  Tensor head(const Tensor& x) override;
  const RopeTable* rope_table(int64_t first_position, int64_t T) override;

  const char* architecture() const override { return "llama"; }
  std::string block_prefix(int64_t i) const override { return "layers." + std::to_string(i) + "."; }
  int64_t context_length() const override { return config.max_position_embeddings; }
  int64_t vocab_size() const override { return config.vocab_size; }
  int64_t width() const override { return config.hidden_size; }
  Device device() const override { return embed_tokens.weight.device(); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;
  void visit_slots(const SlotVisitor& visitor) override;

 private:
  RopeTable rope;  // of the positions asked for last
  int64_t rope_first = -1, rope_length = 0;
};

}  // namespace chalk
