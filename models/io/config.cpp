#include "models/io/config.h"

#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/io/json.h"

namespace chalk {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kLargest = (int64_t{1} << 31) - 1;  // validate() has the tighter bounds

// Hugging Face allows a list of end tokens; Chalk keeps the first.
std::optional<int64_t> token_id(const json& config, const std::string& path, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return {};
  if (found->is_array() && found->empty()) return {};
  const json wrapped = {{key, found->is_array() ? found->front() : *found}};
  return get_int(wrapped, path, key, 0, kLargest);
}

// A switch that must keep the value for which the code is written.
void require(const json& config, const std::string& path, const char* key, bool expected) {
  if (get_bool(config, path, key, expected) != expected)
    throw FileError(path, key, fmt::format("is {}, which Chalk does not implement", !expected));
}

template <class Config>
Config checked(Config config, const std::string& path) {
  try {
    validate(config);
  } catch (const Error& problem) {
    throw FileError(path, "", problem.what());
  }
  return config;
}

}  // namespace

std::string architecture_of(const json& config, const std::string& path) {
  check_object(config, path, "config");
  const std::string type = get_string(config, path, "model_type");
  if (type == "gpt2") return "gpt2";
  if (type == "llama" || type == "mistral" || type == "qwen2") return "llama";
  throw FileError(path, "model_type",
                  "is \"" + printable(type) + "\", expected gpt2, llama, mistral or qwen2");
}

GPT2Config gpt2_config_from_json(const json& config, const std::string& path) {
  check_object(config, path, "config");
  const GPT2Config defaults;
  GPT2Config result;
  result.vocab_size = get_int(config, path, "vocab_size", 1, kLargest, defaults.vocab_size);
  const int64_t n_ctx = get_int(config, path, "n_ctx", 1, kLargest, defaults.n_positions);  // the older name
  result.n_positions = get_int(config, path, "n_positions", 1, kLargest, n_ctx);
  result.n_embd = get_int(config, path, "n_embd", 1, kLargest, defaults.n_embd);
  result.n_layer = get_int(config, path, "n_layer", 1, kLargest, defaults.n_layer);
  result.n_head = get_int(config, path, "n_head", 1, kLargest, defaults.n_head);
  result.n_inner = get_int(config, path, "n_inner", 0, kLargest, 0);
  result.activation = get_string(config, path, "activation_function", defaults.activation);
  if (result.activation == "gelu_pytorch_tanh") result.activation = "gelu_new";  // two names of the tanh form
  result.layer_norm_epsilon =
      get_number(config, path, "layer_norm_epsilon", 0, 1, defaults.layer_norm_epsilon);
  result.tie_word_embeddings = get_bool(config, path, "tie_word_embeddings", true);
  result.dropout = get_number(config, path, "resid_pdrop", 0, 1, 0.0);
  result.bos_token_id = token_id(config, path, "bos_token_id");
  result.eos_token_id = token_id(config, path, "eos_token_id");
  require(config, path, "scale_attn_weights", true);
  require(config, path, "scale_attn_by_inverse_layer_idx", false);
  require(config, path, "add_cross_attention", false);
  return checked(std::move(result), path);
}

namespace {

// `rope` is {"rope_type": ..., "factor": ...}; older files say "type".
RopeScaling rope_scaling_from_json(const json& rope, const std::string& path, int64_t context) {
  check_object(rope, path, "rope_scaling");
  RopeScaling scaling;
  const std::string old_name = get_string(rope, path, "type", "default");
  scaling.type = get_string(rope, path, "rope_type", old_name);
  if (scaling.type == "default") {
    scaling.type = "none";
    return scaling;
  }
  if (scaling.type != "linear" && scaling.type != "llama3")
    throw FileError(path, "rope_scaling",
                    "type \"" + printable(scaling.type) + "\" is not implemented, expected linear or llama3");
  scaling.factor = get_number(rope, path, "factor", 1, 1e6);
  if (scaling.type == "linear") return scaling;
  scaling.low_freq_factor = get_number(rope, path, "low_freq_factor", 0, 1e6);
  scaling.high_freq_factor = get_number(rope, path, "high_freq_factor", 0, 1e6);
  scaling.original_max_position_embeddings =
      get_int(rope, path, "original_max_position_embeddings", 1, kLargest, context);
  return scaling;
}

void read_rope(const json& config, const std::string& path, LlamaConfig& result) {
  const LlamaConfig defaults;
  const bool new_style = config.contains("rope_parameters") && !config["rope_parameters"].is_null();
  const char* key = new_style ? "rope_parameters" : "rope_scaling";
  const double old_theta = get_number(config, path, "rope_theta", 1, 1e15, defaults.rope_theta);
  result.rope_theta = old_theta;
  if (!config.contains(key) || config[key].is_null()) return;
  result.rope_scaling = rope_scaling_from_json(config[key], path, result.max_position_embeddings);
  if (new_style) result.rope_theta = get_number(config[key], path, "rope_theta", 1, 1e15, old_theta);
}

// Mistral: a window for every layer, or null. Qwen2: switched off by default, and only layers from
// max_window_layers up.
int64_t read_sliding_window(const json& config, const std::string& path, const LlamaConfig& result) {
  if (result.model_type == "llama") return 0;
  const bool qwen = result.model_type == "qwen2";
  if (qwen && !get_bool(config, path, "use_sliding_window", false)) return 0;
  // Mistral's absent key means 4096 to transformers; an explicit null means no window.
  const int64_t absent = !qwen && !config.contains("sliding_window") ? 4096 : 0;
  const int64_t window = get_int(config, path, "sliding_window", 0, kLargest, absent);
  const int64_t first_layer = qwen ? get_int(config, path, "max_window_layers", 0, kLargest, 28) : 0;
  if (first_layer >= result.num_hidden_layers) return 0;
  if (window > 0 && first_layer > 0)
    throw FileError(path, "max_window_layers", "a window on some layers only is not implemented");
  return window;
}

}  // namespace

LlamaConfig llama_config_from_json(const json& config, const std::string& path) {
  check_object(config, path, "config");
  const LlamaConfig defaults;
  LlamaConfig result;
  result.model_type = get_string(config, path, "model_type", "llama");
  result.vocab_size = get_int(config, path, "vocab_size", 1, kLargest);
  result.hidden_size = get_int(config, path, "hidden_size", 1, kLargest);
  result.intermediate_size = get_int(config, path, "intermediate_size", 1, kLargest);
  result.num_hidden_layers = get_int(config, path, "num_hidden_layers", 1, kLargest);
  result.num_attention_heads = get_int(config, path, "num_attention_heads", 1, kLargest);
  result.num_key_value_heads =
      get_int(config, path, "num_key_value_heads", 1, kLargest, result.num_attention_heads);
  result.head_dim = get_int(config, path, "head_dim", 0, kLargest, 0);
  result.hidden_act = get_string(config, path, "hidden_act", "silu");
  result.rms_norm_eps =
      get_number(config, path, "rms_norm_eps", 0, 1, 1e-6);  // transformers' default, not the struct's
  result.max_position_embeddings =
      get_int(config, path, "max_position_embeddings", 1, kLargest, defaults.max_position_embeddings);
  read_rope(config, path, result);
  result.tie_word_embeddings = get_bool(config, path, "tie_word_embeddings", false);
  result.attention_bias = result.model_type == "qwen2";  // transformers has no switch for it
  result.sliding_window = read_sliding_window(config, path, result);
  result.dropout = get_number(config, path, "attention_dropout", 0, 1, 0.0);
  result.bos_token_id = token_id(config, path, "bos_token_id");
  result.eos_token_id = token_id(config, path, "eos_token_id");
  if (result.model_type == "llama")
    require(config, path, "attention_bias", false);  // would also put one on o_proj
  require(config, path, "mlp_bias", false);
  return checked(std::move(result), path);
}

ordered_json to_json(const GPT2Config& config) {
  validate(config);
  ordered_json json;
  json["architectures"] = {"GPT2LMHeadModel"};
  json["model_type"] = "gpt2";
  json["vocab_size"] = config.vocab_size;
  json["n_positions"] = config.n_positions;
  json["n_ctx"] = config.n_positions;
  json["n_embd"] = config.n_embd;
  json["n_layer"] = config.n_layer;
  json["n_head"] = config.n_head;
  json["n_inner"] = config.n_inner > 0 ? ordered_json(config.n_inner) : ordered_json(nullptr);
  json["activation_function"] = config.activation;
  json["layer_norm_epsilon"] = config.layer_norm_epsilon;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  for (const char* key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"}) json[key] = config.dropout;
  // An absent id would be filled with GPT-2's own 50256 by transformers, so absence is written as null.
  json["bos_token_id"] = config.bos_token_id ? ordered_json(*config.bos_token_id) : ordered_json(nullptr);
  json["eos_token_id"] = config.eos_token_id ? ordered_json(*config.eos_token_id) : ordered_json(nullptr);
  return json;
}

namespace {

ordered_json rope_scaling_to_json(const RopeScaling& scaling) {
  if (scaling.type == "none") return nullptr;
  ordered_json json;
  json["rope_type"] = scaling.type;
  json["factor"] = scaling.factor;
  if (scaling.type == "linear") {
    json["type"] = scaling.type;  // the key that older readers look for
    return json;
  }
  json["low_freq_factor"] = scaling.low_freq_factor;
  json["high_freq_factor"] = scaling.high_freq_factor;
  json["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
  return json;
}

// Settings that transformers ties to the model type.
void check_expressible(const LlamaConfig& config) {
  validate(config);
  check(config.attention_bias == (config.model_type == "qwen2"),
        "llama config: model_type {} with attention_bias {} has no Hugging Face equivalent (qwen2 has biases "
        "on q, k and "
        "v, llama and mistral have none)",
        config.model_type, config.attention_bias);
  check(config.sliding_window == 0 || config.model_type != "llama",
        "llama config: a sliding window needs model_type mistral or qwen2, got llama");
  check(!config.rope_interleaved,
        "llama config: Hugging Face's rotary pairs are half-split, got rope_interleaved");
}

}  // namespace

ordered_json to_json(const LlamaConfig& config) {
  check_expressible(config);
  ordered_json json;
  const std::string& type = config.model_type;
  json["architectures"] = {type == "qwen2"     ? "Qwen2ForCausalLM"
                           : type == "mistral" ? "MistralForCausalLM"
                                               : "LlamaForCausalLM"};
  json["model_type"] = type;
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.intermediate_size;
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_attention_heads"] = config.num_attention_heads;
  json["num_key_value_heads"] = config.num_key_value_heads;
  json["head_dim"] = config.head_size();
  json["hidden_act"] = config.hidden_act;
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["rope_theta"] = config.rope_theta;
  json["rope_scaling"] = rope_scaling_to_json(config.rope_scaling);
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["attention_dropout"] = config.dropout;
  if (type == "llama") json["attention_bias"] = false;
  if (type == "qwen2") {
    json["use_sliding_window"] = config.sliding_window > 0;
    json["max_window_layers"] = config.sliding_window > 0 ? 0 : config.num_hidden_layers;
  }
  if (type != "llama") {
    json["sliding_window"] =
        config.sliding_window > 0 ? ordered_json(config.sliding_window) : ordered_json(nullptr);
  }
  json["bos_token_id"] = config.bos_token_id ? ordered_json(*config.bos_token_id) : ordered_json(nullptr);
  json["eos_token_id"] = config.eos_token_id ? ordered_json(*config.eos_token_id) : ordered_json(nullptr);
  return json;
}

}  // namespace chalk
