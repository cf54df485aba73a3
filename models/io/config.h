#pragma once
// Hugging Face's config.json <-> the configuration structs. Reading fills absent keys with transformers'
// defaults (except dropout: 0 when absent), refuses values that would change the mathematics in a way Chalk
// does not implement, and ignores keys about anything else. All failures are FileError naming file and key.
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/gpt2_config.h"
#include "models/llama_config.h"

namespace chalk {

// "gpt2" for model_type gpt2; "llama" for llama, mistral and qwen2. `path` names the source in messages.
std::string architecture_of(const nlohmann::json& config, const std::string& path);

// model_type gpt2. Of the three dropout rates, resid_pdrop is taken.
GPT2Config gpt2_config_from_json(const nlohmann::json& config, const std::string& path);

// model_type llama, mistral or qwen2. Rotary constants from rope_theta + rope_scaling or from the newer
// rope_parameters.
LlamaConfig llama_config_from_json(const nlohmann::json& config, const std::string& path);

// What transformers' save_pretrained would write. Throw Error for a configuration that it cannot express.
nlohmann::ordered_json to_json(const GPT2Config& config);
nlohmann::ordered_json to_json(const LlamaConfig& config);

}  // namespace chalk
