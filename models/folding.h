#pragma once
// Where a per-channel factor can hide. The inputs of some products are divided by s, channel by channel, and the products'
// columns multiplied by it: the model computes the same function, but its weights and activations are easier (AWQ,
// SmoothQuant) or harder (models/outliers.h) to round. The division goes into the layer before:
//
//   GPT-2                          readers        division goes into
//     ln_1                         c_attn         ln_1's weight and bias
//     attn.heads                   attn.c_proj    the value rows of c_attn (its last C) and their bias
//     ln_2                         mlp.c_fc       ln_2's weight and bias
//     mlp.hidden                   mlp.c_proj     an explicit division after the activation: GELU(x / s) is not GELU(x) / s
//   LLaMA
//     input_layernorm              q, k, v        the norm's weight
//     attn.heads                   o_proj         v_proj's rows; nowhere under GQA, where several heads share a row
//     post_attention_layernorm     gate, up       the norm's weight
//     mlp.hidden                   down_proj      up_proj's rows: silu(gate) · (up / s); not the gate's, silu bends
//
// A ReLU would let a factor through (ReLU(x/s) = ReLU(x)/s for s > 0): a GPT-2 with ReLU folds mlp.c_proj into c_fc's rows.

#include <functional>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "nn/linear.h"

namespace chalk {

// The products of a block that read one activation.
struct FoldingGroup {
  enum class Target {
    Norm,      // weight (and bias) of the norm in `producer`
    Rows,      // rows first_row … first_row + in − 1 of the Linear in `producer`, and their bias
    Division,  // an InputScaledProjection around the one reader
    None       // no place: the group must stay unscaled
  };

  std::string input;           // hook that carries the activation: "layers.3.input_layernorm"
  std::vector<Slot*> readers;  // projections that multiply it, all with `in` inputs
  Target target = Target::None;
  Slot* producer = nullptr;
  int64_t first_row = 0;
  // The smallest module that holds all readers, from the activation (B, T, in): the attention, the MLP, or the one
  // product alone. Methods that search for s look at its output.
  std::string inspected = {};
  std::function<Tensor(const Tensor& x)> forward = {};

  int64_t in_features() const { return readers.front()->projection().in_features(); }
};

// The four groups of a block, in order of execution; together they hold each of its projections once.
// Throws Error for a model other than GPT2 or Llama. The groups point into the model.
std::vector<FoldingGroup> folding_groups(LanguageModel& model, int64_t block);

// readers' columns · s, producer / s. s (in), positive. Throws Error for Target::None and for slots that no longer hold
// a Linear or a norm.
void fold_scales(const FoldingGroup& group, const std::vector<float>& s);

// The Linear in a slot, also behind an InputScaledProjection. Throws Error naming the slot when there is none.
Linear& linear_in(Slot& slot);
// Whatever holds that Linear: the slot's layer, or the inside of its InputScaledProjection. To swap the product alone.
std::unique_ptr<Layer>& layer_in(Slot& slot);

}  // namespace chalk
