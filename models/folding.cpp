// The folding table of folding.h, and the arithmetic of moving a factor.

#include "models/folding.h"

#include <cmath>

#include "autograd/check.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "nn/calibration.h"
#include "nn/input_scale.h"

namespace chalk {
namespace {

using Target = FoldingGroup::Target;

FoldingGroup group_of(std::vector<Slot*> readers, Target target, Slot* producer, int64_t first_row = 0) {
  FoldingGroup group{.input = input_hook(readers.front()->name),
                     .readers = readers,
                     .target = target,
                     .producer = producer,
                     .first_row = first_row};
  Slot* reader = readers.front();
  group.inspected = reader->name;  // the product itself, unless the caller says otherwise
  group.forward = [reader](const Tensor& x) { return reader->forward(x); };
  return group;
}

void inspect_mlp(FoldingGroup& group, Slot& mlp) {
  group.inspected = mlp.name;
  group.forward = [&mlp](const Tensor& x) { return mlp.forward(x); };
}

// The whole attention, so that an error in a query is weighed by what softmax makes of it.
template <class Attention>
void inspect_attention(FoldingGroup& group, Attention& attention, LanguageModel& model,
                       const std::string& name) {
  group.inspected = name;
  group.forward = [&attention, &model](const Tensor& x) {
    return attention.forward(x, BlockContext{.rope = model.rope_table(0, x.dim(1))});
  };
}

std::vector<FoldingGroup> gpt2_groups(GPT2& model, int64_t i) {
  auto& block = dynamic_cast<GPT2::TransformerBlock&>(model.block(i));
  auto* mlp = dynamic_cast<MLP*>(block.mlp.layer.get());
  check(mlp != nullptr, "folding: slot {} does not hold GPT-2's MLP", block.mlp.name);
  const int64_t C = model.config.n_embd;
  FoldingGroup qkv = group_of({&block.attn.c_attn}, Target::Norm, &block.ln_1);
  inspect_attention(qkv, block.attn, model, model.block_prefix(i) + "attn");
  FoldingGroup out = group_of({&block.attn.c_proj}, Target::Rows, &block.attn.c_attn, 2 * C);
  FoldingGroup up = group_of({&mlp->c_fc}, Target::Norm, &block.ln_2);
  FoldingGroup down = mlp->activation == static_cast<Activation>(relu)
                          ? group_of({&mlp->c_proj}, Target::Rows, &mlp->c_fc)
                          : group_of({&mlp->c_proj}, Target::Division, nullptr);
  return {qkv, out, up, down};
}

std::vector<FoldingGroup> llama_groups(Llama& model, int64_t i) {
  auto& block = dynamic_cast<Llama::TransformerBlock&>(model.block(i));
  auto* mlp = dynamic_cast<GatedMLP*>(block.mlp.layer.get());
  check(mlp != nullptr, "folding: slot {} does not hold LLaMA's MLP", block.mlp.name);
  Llama::Attention& attention = block.self_attn;
  FoldingGroup qkv = group_of({&attention.q_proj, &attention.k_proj, &attention.v_proj}, Target::Norm,
                              &block.input_layernorm);
  inspect_attention(qkv, attention, model, model.block_prefix(i) + "self_attn");
  const bool shared_values = attention.options.kv_heads != attention.options.heads;
  FoldingGroup out =
      group_of({&attention.o_proj}, shared_values ? Target::None : Target::Rows, &attention.v_proj);
  FoldingGroup up = group_of({&mlp->gate_proj, &mlp->up_proj}, Target::Norm, &block.post_attention_layernorm);
  inspect_mlp(up, block.mlp);
  FoldingGroup down = group_of({&mlp->down_proj}, Target::Rows, &mlp->up_proj);
  return {qkv, out, up, down};
}

// weight (rows, columns): column c times factor[c].
void scale_columns(const Tensor& weight, const std::vector<float>& factor) {
  std::vector<float> w = weight.to_vector();
  for (size_t k = 0; k < w.size(); ++k) w[k] *= factor[k % factor.size()];
  weight.copy_from(Tensor::from(weight.shape, w, weight.device()));
}

// Numbers (or rows) first … first + s.size() − 1 of a tensor, each divided by its s.
void divide_rows(const Tensor& tensor, int64_t first, const std::vector<float>& s) {
  if (!tensor.defined()) return;
  const int64_t row = tensor.rank() == 1 ? 1 : tensor.dim(1);
  std::vector<float> numbers = tensor.to_vector();
  for (int64_t k = 0; k < int64_t(s.size()) * row; ++k)
    numbers[size_t(first * row + k)] /= s[size_t(k / row)];
  tensor.copy_from(Tensor::from(tensor.shape, numbers, tensor.device()));
}

void divide_norm(Slot& slot, const std::vector<float>& s) {
  if (auto* rms = dynamic_cast<RMSNorm*>(slot.layer.get())) return divide_rows(rms->weight, 0, s);
  auto* norm = dynamic_cast<LayerNorm*>(slot.layer.get());
  check(norm != nullptr, "folding: slot {} does not hold a norm with a gain", slot.name);
  divide_rows(norm->weight, 0, s);
  divide_rows(norm->bias, 0, s);
}

void divide_input(Slot& slot, std::vector<float> s) {
  const Device device = linear_in(slot).weight.device();
  if (auto* earlier = dynamic_cast<InputScaledProjection*>(slot.layer.get())) {
    const std::vector<float> before = earlier->scales.to_vector();
    for (size_t c = 0; c < s.size(); ++c) s[c] *= before[c];
    slot.layer = std::make_unique<InputScaledProjection>(std::move(earlier->inner), s, device);
  } else {
    slot.layer = std::make_unique<InputScaledProjection>(std::move(slot.layer), s, device);
  }
}

}  // namespace

std::vector<FoldingGroup> folding_groups(LanguageModel& model, int64_t block) {
  if (auto* gpt2 = dynamic_cast<GPT2*>(&model)) return gpt2_groups(*gpt2, block);
  auto* llama = dynamic_cast<Llama*>(&model);
  check(llama != nullptr, "folding: no table for architecture {}", model.architecture());
  return llama_groups(*llama, block);
}

void fold_scales(const FoldingGroup& group, const std::vector<float>& s) {
  check(group.target != Target::None, "folding: no layer before {} can take its scales",
        group.readers.front()->name);
  check(int64_t(s.size()) == group.in_features(), "folding: {} scales for the {} inputs of {}", s.size(),
        group.in_features(), group.readers.front()->name);
  for (size_t c = 0; c < s.size(); ++c)
    check(s[c] > 0 && std::isfinite(s[c]), "folding: scale {} is {}", c, s[c]);
  for (Slot* reader : group.readers) scale_columns(linear_in(*reader).weight, s);
  if (group.target == Target::Norm) divide_norm(*group.producer, s);
  if (group.target == Target::Division) divide_input(*group.readers.front(), s);
  if (group.target == Target::Rows) {
    Linear& producer = linear_in(*group.producer);
    divide_rows(producer.weight, group.first_row, s);
    divide_rows(producer.bias, group.first_row, s);
  }
}

std::unique_ptr<Layer>& layer_in(Slot& slot) {
  auto* scaled = dynamic_cast<InputScaledProjection*>(slot.layer.get());
  return scaled ? scaled->inner : slot.layer;
}

Linear& linear_in(Slot& slot) {
  auto* linear = dynamic_cast<Linear*>(layer_in(slot).get());
  check(linear != nullptr, "slot {} does not hold a plain Linear any more", slot.name);
  return *linear;
}

}  // namespace chalk
