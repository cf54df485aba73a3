#pragma once
// LoRA adapters in the format of Hugging Face's PEFT: a folder with adapter_config.json and adapter_model.safetensors.
// Putting one on a model, and taking one off it, is models/lora_adapter.h.
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/io/safetensors.h"
#include "models/io/weights.h"
#include "nn/lora.h"

namespace chalk {

// The two thin matrices of one projection.
struct PeftModule {
  std::string slot;  // "layers.0.self_attn.q_proj": the Hugging Face name without "transformer." or "model."
  NamedArray A, B;   // lora_A.weight (r, in), lora_B.weight (out, r); also for GPT-2's transposed matrices
};

struct PeftAdapter {
  LoraOptions options;              // r, lora_alpha, lora_dropout, use_rslora
  std::string base_model;           // base_model_name_or_path: a hint for people, may be empty
  std::vector<PeftModule> modules;  // sorted by slot
};

// Reads what PEFT's save_pretrained wrote. Everything is checked before use; whatever would change the mathematics and is
// not plain LoRA (DoRA, trained biases or whole modules, per-module ranks, ...) is refused by name. Throws FileError.
PeftAdapter read_peft(const std::string& folder);
// The same from a parsed configuration and parsed tensors; config_path only names the source in messages.
PeftAdapter parse_peft(const nlohmann::json& config, const std::string& config_path,
                       const Safetensors& tensors);

// Writes what PEFT's from_pretrained reads. `architecture` ("gpt2", "llama") decides the prefix of the names. The weights
// appear before the configuration, each file complete or not at all. Throws Error.
void write_peft(const std::string& folder, const PeftAdapter& adapter, const std::string& architecture);

}  // namespace chalk
