// A tokenizer as the values of GGUF's tokenizer.ggml.* keys, written so that make_gguf_tokenizer (and llama.cpp) reads the same one.
#include <unordered_map>

#include "autograd/check.h"
#include "models/text/byte_alphabet.h"
#include "models/text/byte_bpe.h"
#include "models/text/gguf_tokenizer.h"
#include "models/text/llama2c_tokenizer.h"
#include "models/text/sentencepiece.h"

namespace chalk {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error("GGUF has no form for " + what);
}

// GGUF writes the space of every SentencePiece-like tokenizer as "▁".
std::string with_visible_spaces(const std::string& piece) {
  std::string text;
  for (const char c : piece) text += c == ' ' ? "\u2581" : std::string(1, c);
  return text;
}

void add_piece(GgufTokenizerData& data, const std::string& text, float score, PieceType type) {
  data.tokens.push_back(text);
  data.scores.push_back(score);
  data.token_types.push_back(int32_t(type));
}

GgufTokenizerData from_llama2c(const Llama2cTokenizer& tokenizer) {
  GgufTokenizerData data{.model = "llama"};
  for (int32_t id = 0; id < int32_t(tokenizer.vocab_size()); ++id) {
    const std::string& piece = tokenizer.pieces()[size_t(id)];
    const float score = tokenizer.scores()[size_t(id)];
    if (id == 0) {
      add_piece(data, "<unk>", score, PieceType::Unknown);
    } else if (id <= 2) {
      add_piece(data, id == 1 ? "<s>" : "</s>", score, PieceType::Control);  // the file says "\n<s>\n"
    } else {
      add_piece(data, with_visible_spaces(piece), score, id < 259 ? PieceType::Byte : PieceType::Normal);
    }
  }
  return data;
}

// Scores under which the same pairs merge in the same order: a piece that is made earlier gets the higher one.
// Merges imply scores only if all merges that lead to one piece stand together, and if no cut of a piece is left out.
std::vector<float> scores_from_merges(const SentencePieceParts& parts) {
  std::vector<std::string> texts;
  std::vector<bool> target;
  std::unordered_map<std::string, int32_t> symbol_of;
  for (size_t id = 0; id < parts.pieces.size(); ++id) {
    const Piece& piece = parts.pieces[id];
    texts.push_back(piece.text);
    target.push_back(piece.type == PieceType::Normal || piece.type == PieceType::UserDefined);
    if (target.back()) symbol_of[piece.text] = int32_t(id);
  }
  std::vector<float> scores(texts.size(), 1);  // 1: none yet
  float next = 0;
  int32_t latest = -1;
  for (const auto& [left, right] : parts.merges) {
    const auto made = symbol_of.find(texts[size_t(left)] + texts[size_t(right)]);
    check(made != symbol_of.end(), "tokenizer: a merge of pieces {} and {} gives no piece", left, right);
    if (made->second == latest) continue;
    latest = made->second;
    if (scores[size_t(latest)] <= 0) refuse("merges whose order no scores imply: give the tokenizer.model");
    scores[size_t(latest)] = next--;
  }
  for (float& score : scores) {
    if (score > 0) score = next--;
  }
  const MergeTable implied = merges_from_scores(texts, scores, target, symbol_of);
  bool same = implied.size() == int64_t(parts.merges.size());
  for (const auto& [left, right] : parts.merges) same = same && implied.find(left, right) != nullptr;
  if (!same) refuse("merges that leave out cuts of a piece: give the tokenizer.model");
  return scores;
}

GgufTokenizerData from_sentencepiece(const SentencePieceParts& parts) {
  if (parts.only_missing_prefix) refuse("a space in front only where none stands (Metaspace)");
  if (parts.remove_extra_whitespaces) refuse("remove_extra_whitespaces");
  if (!parts.byte_fallback) refuse("a SentencePiece model without byte fallback");
  GgufTokenizerData data{.model = "llama"};
  const std::vector<float> scores = parts.has_merges ? scores_from_merges(parts) : std::vector<float>{};
  for (size_t id = 0; id < parts.pieces.size(); ++id) {
    const Piece& piece = parts.pieces[id];
    const std::string text = parts.space == " " ? with_visible_spaces(piece.text) : piece.text;
    add_piece(data, text, parts.has_merges ? scores[id] : piece.score, piece.type);
  }
  if (!parts.add_dummy_prefix) data.add_space_prefix = false;
  return data;
}

GgufTokenizerData from_byte_bpe(const ByteBpeParts& parts) {
  GgufTokenizerData data{.model = "gpt2"};
  const std::string pattern = parts.patterns.size() == 1 ? parts.patterns[0] : "";
  if (pattern == kGpt2Pattern && !parts.whole_words_first && !parts.needs_nfc) data.pre = "gpt-2";
  if (pattern == kLlama3Pattern && parts.whole_words_first && !parts.needs_nfc) data.pre = "llama-bpe";
  if (pattern == kQwen2Pattern && !parts.whole_words_first && parts.needs_nfc) data.pre = "qwen2";
  if (data.pre.empty()) refuse("a byte-level BPE that cuts words in another way than GPT-2, LLaMA-3 or Qwen2");
  if (parts.add_prefix_space) refuse("a byte-level BPE with add_prefix_space");
  for (const std::string& token : parts.tokens) {
    data.tokens.push_back(bytes_to_letters(token));
    data.token_types.push_back(int32_t(PieceType::Normal));
  }
  const auto add = [&data](const std::vector<SpecialToken>& list, PieceType type) {
    for (const SpecialToken& token : list) {
      data.tokens[size_t(token.id)] = token.text;
      data.token_types[size_t(token.id)] = int32_t(type);
    }
  };
  add(parts.specials, PieceType::Control);
  add(parts.fixed_words, PieceType::UserDefined);
  for (const auto& [left, right] : parts.merges)
    data.merges.push_back(data.tokens[size_t(left)] + " " + data.tokens[size_t(right)]);
  return data;
}

}  // namespace

GgufTokenizerData gguf_tokenizer_data(const Tokenizer& tokenizer) {
  GgufTokenizerData data;
  if (const auto* bpe = dynamic_cast<const ByteBpe*>(&tokenizer)) {
    data = from_byte_bpe(bpe->parts());
  } else if (const auto* pieces = dynamic_cast<const SentencePiece*>(&tokenizer)) {
    data = from_sentencepiece(pieces->parts());
  } else if (const auto* llama2c = dynamic_cast<const Llama2cTokenizer*>(&tokenizer)) {
    data = from_llama2c(*llama2c);
  } else {
    refuse("a tokenizer of words or characters");
  }
  data.bos_token_id = tokenizer.bos;
  data.eos_token_id = tokenizer.eos;
  data.padding_token_id = tokenizer.pad;
  data.add_bos_token = tokenizer.add_bos;
  return data;
}

}  // namespace chalk
