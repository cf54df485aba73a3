// The tokenizer inside a GGUF file.
#include "models/text/gguf_tokenizer.h"

#include <unordered_map>

#include "autograd/check.h"
#include "models/text/byte_bpe.h"
#include "models/text/sentencepiece.h"
#include "models/text/utf8.h"
#include "models/text/vocabulary.h"

namespace chalk {
namespace {

// What is wrong with one key.
[[noreturn]] void fail(const std::string& path, const std::string& key, const std::string& reason) {
  throw FileError(path, "tokenizer.ggml." + key, reason);
}

std::optional<int32_t> role(const GgufTokenizerData& data, std::optional<int64_t> id, const char* key,
                            const std::string& path) {
  if (!id) return std::nullopt;
  if (*id < 0 || *id >= int64_t(data.tokens.size())) {
    fail(path, key, fmt::format("is {}, expected 0 to {}", *id, int64_t(data.tokens.size()) - 1));
  }
  return int32_t(*id);
}

PieceType type_of_token(const GgufTokenizerData& data, size_t id, const std::string& path) {
  if (data.token_types.empty()) return PieceType::Normal;
  const int32_t type = data.token_types[id];
  if (type < 0 || type > 6)
    fail(path, "token_type", fmt::format("token {} has type {}, expected 1 to 6", id, type));
  return type == 0 ? PieceType::Normal : PieceType(type);  // 0: "undefined", which some writers leave in
}

std::unique_ptr<Tokenizer> make_llama(const GgufTokenizerData& data, const std::string& path) {
  if (data.scores.size() != data.tokens.size()) {
    fail(path, "scores",
         fmt::format("holds {} numbers for {} tokens", data.scores.size(), data.tokens.size()));
  }
  SentencePieceParts parts;
  for (size_t id = 0; id < data.tokens.size(); id++) {
    parts.pieces.push_back({data.tokens[id], data.scores[id], type_of_token(data, id, path)});
    if (parts.unk < 0 && parts.pieces.back().type == PieceType::Unknown) parts.unk = int32_t(id);
  }
  parts.add_dummy_prefix = data.add_space_prefix.value_or(true);
  return std::make_unique<SentencePiece>(std::move(parts), path);
}

std::unique_ptr<Tokenizer> make_gpt2(const GgufTokenizerData& data, const std::string& path) {
  ByteBpeParts parts;
  if (data.pre.empty() || data.pre == "gpt-2" || data.pre == "gpt2" || data.pre == "default") {
    parts.patterns = {kGpt2Pattern};
  } else if (data.pre == "llama-bpe" || data.pre == "llama3" || data.pre == "llama-v3") {
    parts.patterns = {kLlama3Pattern};
    parts.whole_words_first = true;
  } else if (data.pre == "qwen2") {
    parts.patterns = {kQwen2Pattern};
    parts.needs_nfc = true;
  } else {
    fail(path, "pre", in_quotes(data.pre) + " is not supported (expected gpt-2, llama-bpe or qwen2)");
  }
  std::unordered_map<std::string, int32_t> id_of;
  for (size_t id = 0; id < data.tokens.size(); id++) {
    const PieceType type = type_of_token(data, id, path);
    const bool is_text = type == PieceType::Normal || type == PieceType::Byte;
    parts.tokens.push_back(is_text ? letters_to_token(data.tokens[id], path) : data.tokens[id]);
    id_of[data.tokens[id]] = int32_t(id);
    if (type == PieceType::Control || type == PieceType::Unknown)
      parts.specials.push_back({data.tokens[id], int32_t(id)});
    if (type == PieceType::UserDefined) parts.fixed_words.push_back({data.tokens[id], int32_t(id)});
  }
  for (size_t i = 0; i < data.merges.size(); i++) {
    parts.merges.push_back(
        parse_merge(data.merges[i], id_of, path, fmt::format("tokenizer.ggml.merges[{}]", i)));
  }
  return std::make_unique<ByteBpe>(std::move(parts), path);
}

}  // namespace

std::unique_ptr<Tokenizer> make_gguf_tokenizer(const GgufTokenizerData& data, const std::string& path) {
  if (data.tokens.empty() || data.tokens.size() > INT32_MAX)
    fail(path, "tokens", fmt::format("holds {} tokens", data.tokens.size()));
  if (!data.token_types.empty() && data.token_types.size() != data.tokens.size()) {
    fail(path, "token_type",
         fmt::format("holds {} numbers for {} tokens", data.token_types.size(), data.tokens.size()));
  }
  if (data.model != "llama" && data.model != "gpt2") {
    fail(path, "model", in_quotes(data.model) + " is not supported (expected llama or gpt2)");
  }
  const bool is_llama = data.model == "llama";
  auto tokenizer = is_llama ? make_llama(data, path) : make_gpt2(data, path);
  tokenizer->bos = role(data, data.bos_token_id, "bos_token_id", path);
  tokenizer->eos = role(data, data.eos_token_id, "eos_token_id", path);
  tokenizer->pad = role(data, data.padding_token_id, "padding_token_id", path);
  tokenizer->add_bos = tokenizer->bos && data.add_bos_token.value_or(is_llama);
  return tokenizer;
}

}  // namespace chalk
