#pragma once
// Parameter names: Hugging Face's without their leading word <-> GGUF's.
#include <string>

namespace chalk {

// "layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight", "wte.weight" -> "token_embd.weight".
// Throws Error for a name that neither GPT-2 nor LLaMA has.
std::string gguf_name(const std::string& parameter);

}  // namespace chalk
