#pragma once
// The tokenizer inside a GGUF file: from the values of its tokenizer.ggml.* keys, and back.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/text/tokenizer.h"

namespace chalk {

// tokenizer.ggml.* as the file holds them; an array that is absent is empty.
struct GgufTokenizerData {
  std::string model = {};  // "llama" (SentencePiece) or "gpt2" (byte-level BPE)
  std::string pre = {};    // "gpt-2", "llama-bpe", "qwen2", ...: which pattern cuts words; empty means GPT-2's
  std::vector<std::string> tokens = {};
  std::vector<float> scores = {};         // llama
  std::vector<int32_t> token_types = {};  // the numbers of PieceType
  std::vector<std::string> merges = {};   // gpt2: "A B"
  std::optional<int64_t> bos_token_id = {}, eos_token_id = {}, padding_token_id = {}, unknown_token_id = {};
  std::optional<bool> add_bos_token = {};     // default: true for llama, false for gpt2
  std::optional<bool> add_space_prefix = {};  // default: true
};

// FileError naming `path` and the key: unknown model or pre, arrays of different length, ids out of range,
// tokens twice.
std::unique_ptr<Tokenizer> make_gguf_tokenizer(const GgufTokenizerData& data, const std::string& path);

// The other way, for writers of GGUF. Throws Error, naming what is in the way, for a tokenizer that the format cannot express: words and
// characters, a pattern of one's own, merges that no scores imply.
GgufTokenizerData gguf_tokenizer_data(const Tokenizer& tokenizer);

}  // namespace chalk
