#pragma once
// The sizes and constants of a GPT-2 model, the named configurations, and the list of its parameters.
// Source: Radford et al. 2019; field names as in Hugging Face's config.json.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/parameter_shape.h"

namespace chalk {

struct GPT2Config {
  int64_t vocab_size = 50257;           // V
  int64_t n_positions = 1024;           // longest context; positions are learned, there is no way past it
  int64_t n_embd = 768;                 // C, width of the residual stream
  int64_t n_layer = 12;                 // L
  int64_t n_head = 12;                  // H; the width of one head is C / H
  int64_t n_inner = 0;                  // width of the MLP's hidden layer; 0 means 4C
  std::string activation = "gelu_new";  // "gelu_new" = tanh form (OpenAI's), "gelu" = erf form, or "relu"
  double layer_norm_epsilon = 1e-5;
  bool tie_word_embeddings = true;  // lm_head.weight is wte.weight
  double dropout = 0.0;             // after the embedding and on both residual branches (models/gpt2.h)
  std::optional<int64_t> bos_token_id = {};
  std::optional<int64_t> eos_token_id = {};

  int64_t mlp_width() const { return n_inner > 0 ? n_inner : 4 * n_embd; }
};

// Throws Error if a size is not positive, is absurdly large, or n_head does not divide n_embd.
void validate(const GPT2Config& config);

// Every parameter of GPT2LMHeadModel with its name (Hugging Face's, without the leading "transformer.") and
// its in-memory shape, (out, in) for matrices; in Hugging Face's order. lm_head.weight is listed only when it
// is not tied.
std::vector<ParameterShape> parameter_shapes(const GPT2Config& config);

// Number of parameters, a tied head counted once: V·C + n_positions·C + L·(12C² + 13C) + 2C if n_inner = 4C.
int64_t parameter_count(const GPT2Config& config);

// "gpt2" (124M), "gpt2-medium" (355M), "gpt2-large" (774M), "gpt2-xl" (1558M). Otherwise UsageError.
GPT2Config gpt2_preset(const std::string& name);

}  // namespace chalk
