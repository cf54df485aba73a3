#include "models/gpt2_config.h"

#include "autograd/check.h"

namespace chalk {
namespace {

// The bounds keep every product of sizes far below 2^63; the largest known models use 2^15 channels.
void check_size(const char* name, int64_t got, int64_t largest) {
  check(got >= 1 && got <= largest, "gpt2 config: {} is {}, expected 1 to {}", name, got, largest);
}

}  // namespace

void validate(const GPT2Config& config) {
  check_size("vocab_size", config.vocab_size, int64_t{1} << 26);
  check_size("n_positions", config.n_positions, int64_t{1} << 26);
  check_size("n_embd", config.n_embd, int64_t{1} << 20);
  check_size("n_layer", config.n_layer, int64_t{1} << 14);
  check_size("n_head", config.n_head, config.n_embd);
  check(config.n_inner >= 0 && config.n_inner <= int64_t{1} << 24,
        "gpt2 config: n_inner is {}, expected 0 (4 x n_embd) to {}", config.n_inner, int64_t{1} << 24);
  check(config.n_embd % config.n_head == 0, "gpt2 config: n_head {} does not divide n_embd {}", config.n_head,
        config.n_embd);
  check(config.activation == "gelu_new" || config.activation == "gelu" || config.activation == "relu",
        "gpt2 config: activation is \"{}\", expected gelu_new, gelu or relu", config.activation);
  check(config.layer_norm_epsilon > 0 && config.layer_norm_epsilon < 1,
        "gpt2 config: layer_norm_epsilon is {}, expected a value between 0 and 1", config.layer_norm_epsilon);
  check(config.dropout >= 0 && config.dropout < 1, "gpt2 config: dropout is {}, expected [0, 1)",
        config.dropout);
}

std::vector<ParameterShape> parameter_shapes(const GPT2Config& config) {
  const int64_t C = config.n_embd, F = config.mlp_width();
  std::vector<ParameterShape> list;
  const auto add = [&list](const std::string& name, std::vector<int64_t> shape) {
    list.push_back({name, std::move(shape)});
  };
  add("wte.weight", {config.vocab_size, C});
  add("wpe.weight", {config.n_positions, C});
  for (int64_t layer = 0; layer < config.n_layer; ++layer) {
    const std::string h = fmt::format("h.{}.", layer);
    add(h + "ln_1.weight", {C});
    add(h + "ln_1.bias", {C});
    add(h + "attn.c_attn.weight", {3 * C, C});
    add(h + "attn.c_attn.bias", {3 * C});
    add(h + "attn.c_proj.weight", {C, C});
    add(h + "attn.c_proj.bias", {C});
    add(h + "ln_2.weight", {C});
    add(h + "ln_2.bias", {C});
    add(h + "mlp.c_fc.weight", {F, C});
    add(h + "mlp.c_fc.bias", {F});
    add(h + "mlp.c_proj.weight", {C, F});
    add(h + "mlp.c_proj.bias", {C});
  }
  add("ln_f.weight", {C});
  add("ln_f.bias", {C});
  if (!config.tie_word_embeddings) add("lm_head.weight", {config.vocab_size, C});
  return list;
}

int64_t parameter_count(const GPT2Config& config) {
  return parameter_count(parameter_shapes(config));
}

GPT2Config gpt2_preset(const std::string& name) {
  GPT2Config config;
  const auto size = [&config](int64_t layers, int64_t heads, int64_t width) {
    config.n_layer = layers, config.n_head = heads, config.n_embd = width;
  };
  if (name == "gpt2")
    size(12, 12, 768);
  else if (name == "gpt2-medium")
    size(24, 16, 1024);
  else if (name == "gpt2-large")
    size(36, 20, 1280);
  else if (name == "gpt2-xl")
    size(48, 25, 1600);
  else
    throw UsageError("no GPT-2 preset \"" + name + "\": expected gpt2, gpt2-medium, gpt2-large or gpt2-xl");
  config.bos_token_id = config.eos_token_id = 50256;
  return config;
}

}  // namespace chalk
