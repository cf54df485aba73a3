#pragma once
// The sizes and constants of a LLaMA-family model (LLaMA 1-3, Mistral, Qwen2), the published configurations,
// and the list of its parameters. Field names as in Hugging Face's config.json.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/parameter_shape.h"

namespace chalk {

// How the rotary frequencies f are changed before any angle is computed.
struct RopeScaling {
  std::string type = "none";  // "none"; "linear": f / factor; "llama3": by wavelength (Llama-3.1)
  double factor = 1.0;
  double low_freq_factor = 1.0;  // llama3: wavelengths above original / low_freq_factor are divided by factor
  double high_freq_factor = 4.0;  // llama3: wavelengths below original / high_freq_factor are kept
  int64_t original_max_position_embeddings = 8192;
};

struct LlamaConfig {
  std::string model_type = "llama";   // "llama", "mistral" or "qwen2": what Hugging Face's loader will build
  int64_t vocab_size = 32000;         // V
  int64_t hidden_size = 4096;         // C, width of the residual stream
  int64_t intermediate_size = 11008;  // width of the SwiGLU hidden layer
  int64_t num_hidden_layers = 32;     // L
  int64_t num_attention_heads = 32;   // H
  int64_t num_key_value_heads = 32;   // K; divides H (K = H: multi-head, K = 1: multi-query)
  int64_t head_dim = 0;               // D; 0 means C / H
  std::string hidden_act = "silu";
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool rope_interleaved = false;  // pairs (2i, 2i+1) as Meta's code; false: (i, i + D/2) as Hugging Face's
  int64_t max_position_embeddings = 2048;
  bool tie_word_embeddings = false;  // lm_head.weight is embed_tokens.weight
  bool attention_bias = false;       // biases on q, k and v (Qwen2), none on o
  int64_t sliding_window = 0;        // a query sees itself and the W - 1 positions before it; 0: all of them
  double dropout = 0.0;
  std::optional<int64_t> bos_token_id = {};
  std::optional<int64_t> eos_token_id = {};

  int64_t head_size() const { return head_dim > 0 ? head_dim : hidden_size / num_attention_heads; }
};

// Throws Error if a size is not positive, is absurdly large, or heads do not divide.
void validate(const LlamaConfig& config);

// Every parameter of LlamaForCausalLM with its name (Hugging Face's, without the leading "model.") and shape,
// (out, in) for matrices; in Hugging Face's order. lm_head.weight is listed only when it is not tied.
std::vector<ParameterShape> parameter_shapes(const LlamaConfig& config);

// Number of parameters, a tied head counted once: V·C·(2, or 1 if tied) + C + L·(2HDC + 2KDC + 3CF + 2C)
// without biases.
int64_t parameter_count(const LlamaConfig& config);

// The published models by name: "llama-7b", "llama-2-70b", "llama-3.1-8b", "mistral-7b", "stories15m", ...
struct LlamaPreset {
  std::string name;
  LlamaConfig config;
};
std::vector<LlamaPreset> llama_presets();

// One of them. Throws UsageError with the list of names for any other.
LlamaConfig llama_preset(const std::string& name);

// Width of the SwiGLU layer by Meta's rule: F0 = int(2·4C / 3), times the multiplier if it is not 0, rounded
// up to a multiple of `multiple_of`. (4096, 256) -> 11008; (8192, 4096, 1.3) -> 28672.
int64_t llama_ffn_width(int64_t hidden_size, int64_t multiple_of, double multiplier = 0.0);

}  // namespace chalk
