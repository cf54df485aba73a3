#pragma once
// Small checkpoints with random weights, for tests and fuzzers.
#include <random>
#include <string>

#include "models/io/weights.h"

namespace chalk {

// Random weights for every parameter of the configuration.
inline void fill_weights(Checkpoint& checkpoint, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  checkpoint.weights.clear();
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    NamedArray weight{parameter.name, parameter.shape, std::vector<float>(parameter_count({parameter}))};
    for (float& x : weight.data) x = normal(random);
    checkpoint.weights.push_back(std::move(weight));
  }
}

inline Checkpoint tiny_gpt2(bool tied = true) {
  Checkpoint checkpoint;
  checkpoint.architecture = "gpt2";
  checkpoint.gpt2 = {.vocab_size = 11, .n_positions = 8, .n_embd = 8, .n_layer = 2, .n_head = 2};
  checkpoint.gpt2.tie_word_embeddings = tied;
  fill_weights(checkpoint);
  return checkpoint;
}

// Sizes chosen so that no two matrices of a layer have the same shape by accident.
inline Checkpoint tiny_llama(bool tied = false, const std::string& model_type = "llama") {
  Checkpoint checkpoint;
  checkpoint.architecture = "llama";
  LlamaConfig& config = checkpoint.llama;
  config.model_type = model_type, config.attention_bias = model_type == "qwen2";
  config.vocab_size = 13, config.hidden_size = 32, config.intermediate_size = 20,
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4, config.num_key_value_heads = 2, config.max_position_embeddings = 16;
  config.tie_word_embeddings = tied;
  fill_weights(checkpoint);
  return checkpoint;
}

}  // namespace chalk
