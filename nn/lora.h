#pragma once
// LoRA (Hu et al. 2021, arXiv 2106.09685): a frozen projection and beside it a product of two thin matrices that learns.
//
//   y = base(x) + s · B · A · dropout(x)        A (r, in), B (out, r),  s = alpha / r      (rsLoRA: alpha / √r)
//
// A starts uniform in ±1/√in, B at zero: at first the layer is the base, bit for bit. Gradients, with g = dL/dy:
//   dB = s · g (A x)ᵀ        dA = s · Bᵀ g xᵀ        dx += s · Aᵀ Bᵀ g
// Merged, W + s · B · A replaces W and costs nothing at inference.
//
// Parts. GPT-2's c_attn holds q, k and v in one matrix (3C, C). The paper adapts q and v alone: the layer then has one A and
// one B for each part that is named, and the outputs of the others are the base's, bit for bit.

#include <memory>
#include <string>
#include <vector>

#include "nn/linear.h"
#include "nn/nf4_linear.h"

namespace chalk {

struct LoraOptions {
  int64_t rank = 8;
  double alpha = 16;             // s = alpha / rank: a change of rank alone changes the scale
  double dropout = 0;            // on what enters A, in training; the base sees x as it is
  bool rank_stabilized = false;  // s = alpha / √rank (rsLoRA, Kalajdzievski 2023)
  double scaling() const;
};

// What merging did to the numbers. A float base only rounds; a 4-bit base rounds W + s · B · A to its code book again.
struct MergeLoss {
  double update_rms = 0;  // of s · B · A
  double error_rms = 0;   // of stored − (W + s · B · A), W being what the base multiplied by before
};

struct LoraLinear : Projection {
  std::unique_ptr<Layer> base;  // any Projection, frozen
  LoraOptions options;
  // Which thirds of the outputs are adapted: 0, 1, 2 are q, k, v of a fused c_attn. Empty: all outputs, by one A and B.
  std::vector<int64_t> parts;
  Tensor A, B;  // (r, in), (out, r); with P parts, one below the other: (P·r, in), (P·out/3, r)
  const bool* training = nullptr;  // dropout acts while this is true; null: never
  bool merged = false;             // base holds W + s · B · A already

  // Draws A from the stream (seed, name). `parts` in rising order. Throws Error on a base that is no Projection, on rank < 1,
  // and on parts of outputs that are not three times the inputs.
  LoraLinear(std::unique_ptr<Layer> base, const LoraOptions& options, uint64_t seed, const std::string& name,
             const bool* training, std::vector<int64_t> parts = {});

  Tensor forward(const Tensor& x) override;
  int64_t in_features() const override { return A.dim(1); }
  int64_t out_features() const override { return projection().out_features(); }
  Projection& projection() const { return static_cast<Projection&>(*base); }
  // PEFT's names: base_layer.weight, lora_A.weight, lora_B.weight.
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;

  std::vector<float> wide_B()
      const;  // B as if there were no parts: (out, P·r), zeros where an output has no adapter
  std::vector<float> delta() const;  // s · B · A (out, in), summed in double
  // Puts W + s · B · A into the base: Linear, or NF4Linear (dequantized, added, quantized again). Throws Error on others.
  MergeLoss merge();
  // Linear: subtracts again, exact up to rounding. NF4Linear: the packed matrix from before merge() comes back.
  void unmerge();

 private:
  NF4Matrix before_merge;  // of an NF4Linear; empty otherwise
};

// The weight that a projection multiplies by, (out, in), as floats: Linear, NF4Linear, LoraLinear (its effective weight).
// Throws Error on others.
std::vector<float> dense_weight(const Layer& layer);

// ---- a whole model ----

// Freezes everything, then puts a LoraLinear around the projections that `targets` names: whole slot names, or their last
// components ("q_proj"); none: every projection but lm_head. "c_attn.q", "c_attn.k", "c_attn.v" name parts of GPT-2's fused
// projection, in every block or ("h.0.attn.c_attn.q") in one. Returns the adapters in the model's order; slots own them.
// Throws UsageError when a target matches nothing, Error when a slot has an adapter already.
std::vector<LoraLinear*> attach_lora(Module& model, const LoraOptions& options,
                                     const std::vector<std::string>& targets, uint64_t seed,
                                     const bool* training);
std::vector<LoraLinear*> lora_layers(Module& model);  // all of them, in order
// Merges each adapter and leaves the plain base in its slot: the model is then saved as if there had never been one.
MergeLoss merge_lora(Module& model);  // root mean squares over all weights of adapted layers
void remove_lora(Module& model);      // the base as it was; the adapters are lost

// Puts an NF4Linear in place of each Linear but lm_head.
void quantize_projections(Module& model, const NF4Options& options);

// The parameters that learn: what an optimiser of a frozen model should be given.
std::vector<NamedTensor> trainable_parameters(Module& model);

}  // namespace chalk
