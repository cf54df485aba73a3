#pragma once
// What enters the weights: the inputs of projection slots, seen through hooks while a model runs on sample text.
// GPTQ adds them up to Hessians, AWQ and SmoothQuant take channel magnitudes, pruning takes norms.
// models/calibration.h walks a model block by block with it.

#include <functional>
#include <string>
#include <vector>

#include "nn/hooks.h"
#include "nn/slots.h"

namespace chalk {

// The activation that enters a projection slot, as a hook name:
//   h.3.attn.c_attn -> h.3.ln_1                  layers.3.self_attn.{q,k,v}_proj -> layers.3.input_layernorm
//   h.3.attn.c_proj -> h.3.attn.heads            layers.3.self_attn.o_proj       -> layers.3.attn.heads
//   h.3.mlp.c_fc    -> h.3.ln_2                  layers.3.mlp.{gate,up}_proj     -> layers.3.post_attention_layernorm
//   h.3.mlp.c_proj  -> h.3.mlp.hidden            layers.3.mlp.down_proj          -> layers.3.mlp.hidden
// Throws Error for any other name. The head's input is the final norm's output: hook "ln_f" (GPT-2) or "norm" (LLaMA).
std::string input_hook(const std::string& slot_name);

// The projection slots below `module`, those with the same input together, in order of execution:
//   GPT-2: {c_attn} {attn.c_proj} {c_fc} {mlp.c_proj}        LLaMA: {q, k, v} {o} {gate, up} {down}
// Slots whose input no hook carries (adapters inside a slot, the head) are left out.
std::vector<std::vector<std::string>> slots_by_input(Module& module);

// One call per slot and forward pass: x (tokens, in), host memory, valid during the call only. Slots that share an input
// are told of it one after the other.
using InputVisitor = std::function<void(const std::string& slot, const float* x, int64_t tokens, int64_t in)>;

// Tells `visitor` what enters each slot at every forward pass, for as long as it lives.
struct InputObserver {
  InputObserver(Hooks& hooks, const std::vector<std::string>& slots, InputVisitor visitor);
  ~InputObserver();
  InputObserver(const InputObserver&) = delete;

 private:
  Hooks& hooks;
  std::vector<int> tickets;
};

// The inputs of one slot, kept: all forward passes, one below the other.
struct SlotInputs {
  int64_t tokens = 0, in = 0;
  std::vector<float> x;  // (tokens, in)

  void append(const float* more, int64_t more_tokens, int64_t width);
};

}  // namespace chalk
