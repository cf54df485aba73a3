#include "models/io/gguf_names.h"

#include "autograd/check.h"

namespace chalk {
namespace {

struct NamePair {
  const char* huggingface;
  const char* gguf;
};

constexpr NamePair kOutsideBlocks[] = {
    {"embed_tokens", "token_embd"}, {"norm", "output_norm"},  // LLaMA
    {"wte", "token_embd"},          {"ln_f", "output_norm"},  // GPT-2
    {"wpe", "position_embd"},       {"lm_head", "output"},    // GPT-2; both
};

constexpr NamePair kInsideBlocks[] = {
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"attn.c_attn", "attn_qkv"},
    {"attn.c_proj", "attn_output"},
    {"mlp.c_fc", "ffn_up"},
    {"mlp.c_proj", "ffn_down"},
    {"ln_1", "attn_norm"},
    {"ln_2", "ffn_norm"},
};

}  // namespace

std::string gguf_name(const std::string& parameter) {
  const size_t last_dot = parameter.rfind('.');
  check(last_dot != std::string::npos, "no GGUF name for parameter {}", parameter);
  const std::string module = parameter.substr(0, last_dot),
                    kind = parameter.substr(last_dot);  // ".weight" or ".bias"
  for (const NamePair& pair : kOutsideBlocks)
    if (module == pair.huggingface) return pair.gguf + kind;
  for (const std::string prefix : {"layers.", "h."}) {
    if (!module.starts_with(prefix)) continue;
    const size_t number_end = module.find('.', prefix.size());
    if (number_end == std::string::npos) break;
    const std::string number = module.substr(prefix.size(), number_end - prefix.size());
    for (const NamePair& pair : kInsideBlocks)
      if (module.substr(number_end + 1) == pair.huggingface) return "blk." + number + "." + pair.gguf + kind;
  }
  throw Error("no GGUF name for parameter " + parameter);
}

}  // namespace chalk
