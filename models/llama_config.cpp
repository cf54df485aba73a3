#include "models/llama_config.h"

#include "autograd/check.h"

namespace chalk {
namespace {

// The bounds keep every product of sizes far below 2^63; the largest known models use 2^14 channels.
void check_size(const char* name, int64_t got, int64_t largest) {
  check(got >= 1 && got <= largest, "llama config: {} is {}, expected 1 to {}", name, got, largest);
}

void validate_rope(const LlamaConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  check(config.rope_theta > 1 && config.rope_theta < 1e15,
        "llama config: rope_theta is {}, expected more than 1", config.rope_theta);
  check(config.head_size() % 2 == 0, "llama config: head_dim is {}, but rotary pairs need an even number",
        config.head_size());
  check(scaling.type == "none" || scaling.type == "linear" || scaling.type == "llama3",
        "llama config: rope_scaling type is \"{}\", expected none, linear or llama3", scaling.type);
  check(scaling.factor >= 1 && scaling.factor < 1e6,
        "llama config: rope_scaling factor is {}, expected 1 to 1e6", scaling.factor);
  check(scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor,
        "llama config: rope_scaling needs 0 < low_freq_factor < high_freq_factor, got {} and {}",
        scaling.low_freq_factor, scaling.high_freq_factor);
  check_size("original_max_position_embeddings", scaling.original_max_position_embeddings, int64_t{1} << 30);
}

}  // namespace

void validate(const LlamaConfig& config) {
  check(config.model_type == "llama" || config.model_type == "mistral" || config.model_type == "qwen2",
        "llama config: model_type is \"{}\", expected llama, mistral or qwen2", config.model_type);
  check_size("vocab_size", config.vocab_size, int64_t{1} << 26);
  check_size("hidden_size", config.hidden_size, int64_t{1} << 20);
  check_size("intermediate_size", config.intermediate_size, int64_t{1} << 24);
  check_size("num_hidden_layers", config.num_hidden_layers, int64_t{1} << 14);
  check_size("num_attention_heads", config.num_attention_heads, int64_t{1} << 16);
  check_size("num_key_value_heads", config.num_key_value_heads, config.num_attention_heads);
  check_size("max_position_embeddings", config.max_position_embeddings, int64_t{1} << 30);
  check(config.num_attention_heads % config.num_key_value_heads == 0,
        "llama config: num_key_value_heads {} does not divide num_attention_heads {}",
        config.num_key_value_heads, config.num_attention_heads);
  check(config.head_dim >= 0 && config.head_dim <= 1 << 16,
        "llama config: head_dim is {}, expected 0 to 65536", config.head_dim);
  check(config.head_dim > 0 || config.hidden_size % config.num_attention_heads == 0,
        "llama config: num_attention_heads {} does not divide hidden_size {}", config.num_attention_heads,
        config.hidden_size);
  check_size("num_attention_heads x head_dim", config.num_attention_heads * config.head_size(),
             int64_t{1} << 24);
  check(config.hidden_act == "silu", "llama config: hidden_act is \"{}\", expected silu", config.hidden_act);
  check(config.rms_norm_eps > 0 && config.rms_norm_eps < 1,
        "llama config: rms_norm_eps is {}, expected a value between 0 and 1", config.rms_norm_eps);
  check(config.sliding_window >= 0 && config.sliding_window <= int64_t{1} << 30,
        "llama config: sliding_window is {}, expected 0 (none) or a positive number", config.sliding_window);
  check(config.dropout >= 0 && config.dropout < 1, "llama config: dropout is {}, expected [0, 1)",
        config.dropout);
  validate_rope(config);
}

std::vector<ParameterShape> parameter_shapes(const LlamaConfig& config) {
  const int64_t C = config.hidden_size, F = config.intermediate_size;
  const int64_t query = config.num_attention_heads * config.head_size();
  const int64_t key_value = config.num_key_value_heads * config.head_size();
  std::vector<ParameterShape> list;
  const auto add = [&list](const std::string& name, std::vector<int64_t> shape) {
    list.push_back({name, std::move(shape)});
  };
  add("embed_tokens.weight", {config.vocab_size, C});
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string prefix = fmt::format("layers.{}.", layer);
    add(prefix + "self_attn.q_proj.weight", {query, C});
    if (config.attention_bias) add(prefix + "self_attn.q_proj.bias", {query});
    add(prefix + "self_attn.k_proj.weight", {key_value, C});
    if (config.attention_bias) add(prefix + "self_attn.k_proj.bias", {key_value});
    add(prefix + "self_attn.v_proj.weight", {key_value, C});
    if (config.attention_bias) add(prefix + "self_attn.v_proj.bias", {key_value});
    add(prefix + "self_attn.o_proj.weight", {C, query});
    add(prefix + "mlp.gate_proj.weight", {F, C});
    add(prefix + "mlp.up_proj.weight", {F, C});
    add(prefix + "mlp.down_proj.weight", {C, F});
    add(prefix + "input_layernorm.weight", {C});
    add(prefix + "post_attention_layernorm.weight", {C});
  }
  add("norm.weight", {C});
  if (!config.tie_word_embeddings) add("lm_head.weight", {config.vocab_size, C});
  return list;
}

int64_t parameter_count(const LlamaConfig& config) {
  // Every layer has as many parameters as the next, so two short lists tell the count for any number of
  // layers: readers compare it with the size of a file before they trust the number of layers.
  LlamaConfig shallow = config;
  shallow.num_hidden_layers = 1;
  const int64_t with_one_layer = parameter_count(parameter_shapes(shallow));
  shallow.num_hidden_layers = 2;
  const int64_t per_layer = parameter_count(parameter_shapes(shallow)) - with_one_layer;
  return with_one_layer + (config.num_hidden_layers - 1) * per_layer;
}

int64_t llama_ffn_width(int64_t hidden_size, int64_t multiple_of, double multiplier) {
  int64_t width = 2 * (4 * hidden_size) / 3;
  if (multiplier != 0.0) width = static_cast<int64_t>(multiplier * static_cast<double>(width));
  return multiple_of * ((width + multiple_of - 1) / multiple_of);
}

namespace {

LlamaConfig sizes(int64_t V, int64_t C, int64_t L, int64_t H, int64_t K, int64_t F, double eps,
                  int64_t context) {
  LlamaConfig config;
  config.vocab_size = V, config.hidden_size = C, config.num_hidden_layers = L;
  config.num_attention_heads = H, config.num_key_value_heads = K, config.intermediate_size = F;
  config.rms_norm_eps = eps, config.max_position_embeddings = context;
  config.bos_token_id = 1, config.eos_token_id = 2;
  return config;
}

// Llama-3.x; factor 0 is Llama-3 itself, which does not scale its frequencies.
LlamaConfig llama3(int64_t C, int64_t L, int64_t H, int64_t F, double factor) {
  LlamaConfig config = sizes(128256, C, L, H, 8, F, 1e-5, factor == 0 ? 8192 : 131072);
  config.rope_theta = 500000.0;
  if (factor != 0) config.rope_scaling = {"llama3", factor, 1.0, 4.0, 8192};
  config.bos_token_id = 128000, config.eos_token_id = 128001;
  return config;
}

LlamaConfig tied(LlamaConfig config) {
  config.tie_word_embeddings = true;
  return config;
}

LlamaConfig code_llama_34b() {
  LlamaConfig config = sizes(32000, 8192, 48, 64, 8, 22016, 1e-5, 16384);
  config.rope_theta = 1e6;
  return config;
}

LlamaConfig mistral_7b() {
  LlamaConfig config = sizes(32000, 4096, 32, 32, 8, 14336, 1e-5, 8192);
  config.model_type = "mistral";
  config.sliding_window = 4096;
  return config;
}

}  // namespace

std::vector<LlamaPreset> llama_presets() {
  return {
      {"llama-7b", sizes(32000, 4096, 32, 32, 32, 11008, 1e-6, 2048)},
      {"llama-13b", sizes(32000, 5120, 40, 40, 40, 13824, 1e-6, 2048)},
      {"llama-33b", sizes(32000, 6656, 60, 52, 52, 17920, 1e-6, 2048)},
      {"llama-65b", sizes(32000, 8192, 80, 64, 64, 22016, 1e-5, 2048)},
      {"llama-2-7b", sizes(32000, 4096, 32, 32, 32, 11008, 1e-5, 4096)},
      {"llama-2-13b", sizes(32000, 5120, 40, 40, 40, 13824, 1e-5, 4096)},
      {"llama-2-70b", sizes(32000, 8192, 80, 64, 8, 28672, 1e-5, 4096)},
      {"code-llama-34b", code_llama_34b()},
      {"llama-3-8b", llama3(4096, 32, 32, 14336, 0)},
      {"llama-3-70b", llama3(8192, 80, 64, 28672, 0)},
      {"llama-3.1-8b", llama3(4096, 32, 32, 14336, 8)},
      {"llama-3.1-70b", llama3(8192, 80, 64, 28672, 8)},
      {"llama-3.1-405b", llama3(16384, 126, 128, 53248, 8)},
      {"llama-3.2-1b", tied(llama3(2048, 16, 32, 8192, 32))},
      {"llama-3.2-3b", tied(llama3(3072, 28, 24, 8192, 32))},
      {"mistral-7b", mistral_7b()},
      {"stories260k", tied(sizes(512, 64, 5, 8, 4, 172, 1e-5, 512))},
      {"stories15m", tied(sizes(32000, 288, 6, 6, 6, 768, 1e-5, 256))},
      {"stories42m", tied(sizes(32000, 512, 8, 8, 8, 1376, 1e-5, 1024))},
      {"stories110m", tied(sizes(32000, 768, 12, 12, 12, 2048, 1e-5, 1024))},
  };
}

LlamaConfig llama_preset(const std::string& name) {
  std::string names;
  for (const LlamaPreset& preset : llama_presets()) {
    if (preset.name == name) return preset.config;
    names += " " + preset.name;
  }
  throw UsageError("no LLaMA preset \"" + name + "\": expected one of" + names);
}

}  // namespace chalk
