#pragma once
// tokenizer.json, the file of Hugging Face's `tokenizers` library: one JSON object that holds the vocabulary
// and describes every step (normalizer, pre_tokenizer, model, post_processor, decoder). Chalk reads the forms
// below and refuses the others by name; it writes each of its own tokenizers so that `tokenizers` gives the
// same ids.
//
//   model       pre_tokenizer                     becomes
//   BPE         ByteLevel, or Split... ByteLevel  ByteBpe         (GPT-2, LLaMA-3, Qwen2)
//   BPE         none, or Metaspace                SentencePiece   (LLaMA-1/2, Mistral: byte_fallback, "▁" for
// a space)
//   WordLevel   WhitespaceSplit                   WordTokenizer
//   WordLevel   Split into single characters      CharTokenizer
#include <memory>
#include <string>
#include <string_view>

#include "models/text/tokenizer.h"

namespace chalk {

// `json`: the text of the file; `path` names it in messages. FileError: anything missing, of the wrong type,
// out of range or not supported.
std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view json, const std::string& path);

// Takes BOS, EOS, PAD and whether BOS goes in front from a tokenizer_config.json (bos_token, eos_token,
// pad_token, add_bos_token), where it says so. FileError: wrong types, or a token that the tokenizer does not
// have.
void apply_tokenizer_config(Tokenizer& tokenizer, std::string_view json, const std::string& path);

// parse_tokenizer_json of a file, then apply_tokenizer_config of the tokenizer_config.json beside it, if
// there is one.
std::unique_ptr<Tokenizer> load_tokenizer_json(const std::string& path);

}  // namespace chalk
