// GPT-2's forward pass, in the order of the equations in gpt2.h.

#include "models/gpt2.h"

#include <cmath>

#include "autograd/check.h"
#include "nn/init.h"

namespace chalk {
namespace {

Slot layernorm_slot(const std::string& name, const GPT2Config& config, Device device) {
  auto norm = std::make_unique<LayerNorm>(config.n_embd, float(config.layer_norm_epsilon), device);
  return {name, Slot::Kind::Norm, std::move(norm)};
}

// Before anything is allocated from it.
const GPT2Config& valid(const GPT2Config& config) {
  validate(config);
  return config;
}

}  // namespace

// ---- attention ----

GPT2::Attention::Attention(const GPT2Config& config, const Hooks& hooks, const std::string& prefix,
                           Device device)
    : c_attn(linear_slot(prefix + "attn.c_attn", config.n_embd, 3 * config.n_embd, true, device)),
      c_proj(linear_slot(prefix + "attn.c_proj", config.n_embd, config.n_embd, true, device)),
      heads(config.n_head),
      hooks(hooks),
      prefix(prefix) {}

Tensor GPT2::Attention::forward(const Tensor& x, const BlockContext& context) {
  const int64_t C = x.dim(-1);
  const Tensor qkv = c_attn.forward(x);       // (B, T, 3C)
  const Tensor q = slice(qkv, -1, 0, C);      // (B, T, C)
  const Tensor k = slice(qkv, -1, C, C);      // (B, T, C)
  const Tensor v = slice(qkv, -1, 2 * C, C);  // (B, T, C)
  const AttentionOptions options{.heads = heads, .kv_heads = heads};
  const Tensor y = self_attention(q, k, v, options, context, hooks, prefix);  // (B, T, C)
  return c_proj.forward(y);                                                   // (B, T, C)
}

void GPT2::Attention::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  c_attn.visit_parameters(prefix, visitor);
  c_proj.visit_parameters(prefix, visitor);
}

void GPT2::Attention::visit_slots(const SlotVisitor& visitor) {
  c_attn.visit(visitor);
  c_proj.visit(visitor);
}

// ---- block ----

GPT2::TransformerBlock::TransformerBlock(const GPT2Config& config, GPT2& owner, int64_t i, Device device)
    : ln_1(layernorm_slot(owner.block_prefix(i) + "ln_1", config, device)),
      attn(config, owner.hooks, owner.block_prefix(i), device),
      ln_2(layernorm_slot(owner.block_prefix(i) + "ln_2", config, device)),
      mlp{owner.block_prefix(i) + "mlp", Slot::Kind::MLP,
          std::make_unique<MLP>(owner.hooks, owner.block_prefix(i), config.n_embd, config.mlp_width(),
                                activation_by_name(config.activation), device)},
      hooks(owner.hooks),
      prefix(owner.block_prefix(i)) {
  model = &owner;
}

Tensor GPT2::TransformerBlock::forward(const Tensor& x_in, const BlockContext& context) {
  const double p = static_cast<GPT2*>(model)->config.dropout;
  Tensor x = hooks.pass(prefix, "resid_pre", x_in);  // (B, T, C)

  Tensor normed = hooks.pass(prefix, "ln_1", ln_1.forward(x));
  const Tensor attn_out = hooks.pass(prefix, "attn.out", attn.forward(normed, context));
  x = hooks.pass(prefix, "resid_mid", add(x, model->drop(attn_out, p)));

  normed = hooks.pass(prefix, "ln_2", ln_2.forward(x));
  const Tensor mlp_out = hooks.pass(prefix, "mlp.out", mlp.forward(normed));
  return hooks.pass(prefix, "resid_post", add(x, model->drop(mlp_out, p)));
}

void GPT2::TransformerBlock::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  ln_1.visit_parameters(prefix, visitor);
  attn.visit_parameters(prefix + "attn.", visitor);
  ln_2.visit_parameters(prefix, visitor);
  mlp.visit_parameters(prefix, visitor);
}

void GPT2::TransformerBlock::visit_slots(const SlotVisitor& visitor) {
  ln_1.visit(visitor);
  attn.visit_slots(visitor);
  ln_2.visit(visitor);
  mlp.visit(visitor);
}

// ---- model ----

GPT2::GPT2(const GPT2Config& config_in, Device device)
    : config(valid(config_in)),
      wte(config.vocab_size, config.n_embd, device),
      wpe(config.n_positions, config.n_embd, device),
      ln_f(layernorm_slot("ln_f", config, device)) {
  for (int64_t i = 0; i < config.n_layer; ++i)
    h.push_back(std::make_unique<TransformerBlock>(config, *this, i, device));
  lm_head = config.tie_word_embeddings
                ? Slot{"lm_head", Slot::Kind::Projection, std::make_unique<Linear>(wte.weight)}
                : linear_slot("lm_head", config.n_embd, config.vocab_size, false, device);
  declare_hooks("ln_1", "ln_2", "ln_f");
}

void GPT2::init(uint64_t seed) {
  const float residual_std = 0.02f / std::sqrt(2.0f * float(config.n_layer));
  for (const NamedTensor& p : parameters()) {
    if (p.tensor.rank() < 2) continue;  // norms and biases keep 1 and 0
    const bool writes_residual = p.name.ends_with("c_proj.weight");
    init_normal(p.tensor, writes_residual ? residual_std : 0.02f, seed, p.name);
  }
}

Tensor GPT2::embed(const IntTensor& ids, int64_t first_position) {
  check(ids.shape.size() == 2, "embed: ids have shape {}, expected (B, T)", to_string(ids.shape));
  const int64_t T = ids.shape[1];
  IntTensor positions{{T}, {}};
  for (int64_t t = 0; t < T; ++t) positions.values.push_back(int32_t(first_position + t));
  const Tensor tokens = wte.forward(ids);                // (B, T, C)
  const Tensor x = add(tokens, wpe.forward(positions));  // + (T, C), the same for every sequence
  return drop(x, config.dropout);
}

Tensor GPT2::head(const Tensor& x) {
  const Tensor normed = hooks.pass("", "ln_f", ln_f.forward(x));  // (B, T, C)
  return lm_head.forward(normed);                                 // (B, T, V)
}

void GPT2::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  wte.visit_parameters(prefix + "wte.", visitor);
  wpe.visit_parameters(prefix + "wpe.", visitor);
  for (size_t i = 0; i < h.size(); ++i) h[i]->visit_parameters(prefix + block_prefix(int64_t(i)), visitor);
  ln_f.visit_parameters(prefix, visitor);
  lm_head.visit_parameters(prefix, visitor);
}

void GPT2::visit_slots(const SlotVisitor& visitor) {
  for (auto& block : h) block->visit_slots(visitor);
  ln_f.visit(visitor);
  lm_head.visit(visitor);
}

}  // namespace chalk
