// LLaMA's forward pass, in the order of the equations in llama.h.

#include "models/llama.h"

#include <cmath>

#include "autograd/check.h"
#include "nn/init.h"

namespace chalk {
namespace {

Slot rmsnorm_slot(const std::string& name, const LlamaConfig& config, Device device) {
  auto norm = std::make_unique<RMSNorm>(config.hidden_size, float(config.rms_norm_eps), device);
  return {name, Slot::Kind::Norm, std::move(norm)};
}

// Before anything is allocated from it.
const LlamaConfig& valid(const LlamaConfig& config) {
  validate(config);
  return config;
}

FrequencyScaling scaling_of(const RopeScaling& c) {
  FrequencyScaling scaling{.factor = c.factor,
                           .low_freq_factor = c.low_freq_factor,
                           .high_freq_factor = c.high_freq_factor,
                           .original_context = double(c.original_max_position_embeddings)};
  if (c.type == "linear") scaling.type = FrequencyScaling::Type::Linear;
  if (c.type == "llama3") scaling.type = FrequencyScaling::Type::Llama3;
  return scaling;
}

}  // namespace

// ---- attention ----

Llama::Attention::Attention(const LlamaConfig& c, const Hooks& hooks, const std::string& prefix,
                            Device device)
    : q_proj(linear_slot(prefix + "self_attn.q_proj", c.hidden_size, c.num_attention_heads * c.head_size(),
                         c.attention_bias, device)),
      k_proj(linear_slot(prefix + "self_attn.k_proj", c.hidden_size, c.num_key_value_heads * c.head_size(),
                         c.attention_bias, device)),
      v_proj(linear_slot(prefix + "self_attn.v_proj", c.hidden_size, c.num_key_value_heads * c.head_size(),
                         c.attention_bias, device)),
      o_proj(linear_slot(prefix + "self_attn.o_proj", c.num_attention_heads * c.head_size(), c.hidden_size,
                         false, device)),
      options{.heads = c.num_attention_heads, .kv_heads = c.num_key_value_heads, .window = c.sliding_window},
      hooks(hooks),
      prefix(prefix) {}

Tensor Llama::Attention::forward(const Tensor& x, const BlockContext& context) {
  const Tensor q = q_proj.forward(x);                                         // (B, T, H·D)
  const Tensor k = k_proj.forward(x);                                         // (B, T, K·D)
  const Tensor v = v_proj.forward(x);                                         // (B, T, K·D)
  const Tensor y = self_attention(q, k, v, options, context, hooks, prefix);  // (B, T, H·D)
  return o_proj.forward(y);                                                   // (B, T, C)
}

void Llama::Attention::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  for (Slot* slot : {&q_proj, &k_proj, &v_proj, &o_proj}) slot->visit_parameters(prefix, visitor);
}

void Llama::Attention::visit_slots(const SlotVisitor& visitor) {
  for (Slot* slot : {&q_proj, &k_proj, &v_proj, &o_proj}) slot->visit(visitor);
}

// ---- block ----

Llama::TransformerBlock::TransformerBlock(const LlamaConfig& config, Llama& owner, int64_t i, Device device)
    : self_attn(config, owner.hooks, owner.block_prefix(i), device),
      mlp{owner.block_prefix(i) + "mlp", Slot::Kind::MLP,
          std::make_unique<GatedMLP>(owner.hooks, owner.block_prefix(i), config.hidden_size,
                                     config.intermediate_size, device)},
      input_layernorm(rmsnorm_slot(owner.block_prefix(i) + "input_layernorm", config, device)),
      post_attention_layernorm(
          rmsnorm_slot(owner.block_prefix(i) + "post_attention_layernorm", config, device)),
      hooks(owner.hooks),
      prefix(owner.block_prefix(i)) {
  model = &owner;
}

Tensor Llama::TransformerBlock::forward(const Tensor& x_in, const BlockContext& context) {
  const double p = static_cast<Llama*>(model)->config.dropout;
  Tensor x = hooks.pass(prefix, "resid_pre", x_in);  // (B, T, C)

  Tensor normed = hooks.pass(prefix, "input_layernorm", input_layernorm.forward(x));
  const Tensor attn_out = hooks.pass(prefix, "attn.out", self_attn.forward(normed, context));
  x = hooks.pass(prefix, "resid_mid", add(x, model->drop(attn_out, p)));

  normed = hooks.pass(prefix, "post_attention_layernorm", post_attention_layernorm.forward(x));
  const Tensor mlp_out = hooks.pass(prefix, "mlp.out", mlp.forward(normed));
  return hooks.pass(prefix, "resid_post", add(x, model->drop(mlp_out, p)));
}

void Llama::TransformerBlock::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  self_attn.visit_parameters(prefix + "self_attn.", visitor);
  mlp.visit_parameters(prefix, visitor);
  input_layernorm.visit_parameters(prefix, visitor);
  post_attention_layernorm.visit_parameters(prefix, visitor);
}

void Llama::TransformerBlock::visit_slots(const SlotVisitor& visitor) {
  input_layernorm.visit(visitor);
  self_attn.visit_slots(visitor);
  post_attention_layernorm.visit(visitor);
  mlp.visit(visitor);
}

// ---- model ----

Llama::Llama(const LlamaConfig& config_in, Device device)
    : config(valid(config_in)),
      embed_tokens(config.vocab_size, config.hidden_size, device),
      norm(rmsnorm_slot("norm", config, device)) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers.push_back(std::make_unique<TransformerBlock>(config, *this, i, device));
  }
  lm_head = config.tie_word_embeddings
                ? Slot{"lm_head", Slot::Kind::Projection, std::make_unique<Linear>(embed_tokens.weight)}
                : linear_slot("lm_head", config.hidden_size, config.vocab_size, false, device);
  declare_hooks("input_layernorm", "post_attention_layernorm", "norm");
}

void Llama::init(uint64_t seed, Init std) {
  const float residual_factor = 1 / std::sqrt(2.0f * float(config.num_hidden_layers));
  for (const NamedTensor& p : parameters()) {
    if (p.tensor.rank() < 2) continue;  // norms and biases keep 1 and 0
    const bool writes_residual = p.name.ends_with("o_proj.weight") || p.name.ends_with("down_proj.weight");
    const bool is_table = p.name == "embed_tokens.weight" || p.name == "lm_head.weight";
    const float size = is_table ? std.embedding : std.matrices;
    init_normal(p.tensor, writes_residual ? size * residual_factor : size, seed, p.name);
  }
}

Tensor Llama::embed(const IntTensor& ids, int64_t) {
  check(ids.shape.size() == 2, "embed: ids have shape {}, expected (B, T)", to_string(ids.shape));
  return drop(embed_tokens.forward(ids), config.dropout);  // (B, T, C); positions enter through rope
}

Tensor Llama::head(const Tensor& x) {
  const Tensor normed = hooks.pass("", "norm", norm.forward(x));  // (B, T, C)
  return lm_head.forward(normed);                                 // (B, T, V)
}

const RopeTable* Llama::rope_table(int64_t first_position, int64_t T) {
  if (first_position != rope_first || T != rope_length) {
    std::vector<int32_t> positions;
    for (int64_t t = 0; t < T; ++t) positions.push_back(int32_t(first_position + t));
    rope = make_rope_table(positions, config.head_size(), config.rope_theta, scaling_of(config.rope_scaling),
                           config.rope_interleaved, device());
    rope_first = first_position;
    rope_length = T;
  }
  return &rope;
}

void Llama::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  embed_tokens.visit_parameters(prefix + "embed_tokens.", visitor);
  for (size_t i = 0; i < layers.size(); ++i)
    layers[i]->visit_parameters(prefix + block_prefix(int64_t(i)), visitor);
  norm.visit_parameters(prefix, visitor);
  lm_head.visit_parameters(prefix, visitor);
}

void Llama::visit_slots(const SlotVisitor& visitor) {
  for (auto& block : layers) block->visit_slots(visitor);
  norm.visit(visitor);
  lm_head.visit(visitor);
}

}  // namespace chalk
