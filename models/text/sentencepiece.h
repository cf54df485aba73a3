#pragma once
// SentencePiece, the BPE kind (LLaMA-1/2, Mistral): no words, the whole text is one string of characters in
// which a space is written "▁" (U+2581). Every piece has a score; the pair of neighbours that makes the piece
// of best score is merged first.
// A character without a piece falls back to its UTF-8 bytes. Source: Kudo and Richardson 2018, arXiv
// 1808.06226.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/text/bpe_merges.h"
#include "models/text/tokenizer.h"

namespace chalk {

enum class PieceType {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6
};  // numbers of the file

struct Piece {
  std::string text;  // UTF-8, spaces as "▁"; a byte piece is "<0x0A>"
  float score = 0;   // higher merges first
  PieceType type = PieceType::Normal;
};

struct SentencePieceParts {
  std::vector<Piece> pieces;  // by id
  // Merges (left id, right id), best first, in place of the scores: what a tokenizer.json holds. Such a file
  // also wants user-defined pieces found in the text as it was given, before spaces are rewritten.
  std::vector<std::pair<int32_t, int32_t>> merges;
  bool has_merges = false;
  std::string space = "\u2581";                    // how a space is written inside pieces
  bool add_dummy_prefix = true;                    // a space in front of every text ...
  bool only_missing_prefix = false;                // ... unless it starts with one (Hugging Face's Metaspace)
  bool remove_extra_whitespaces = false;           // trims, and makes runs of spaces one
  bool byte_fallback = true;                       // otherwise a character without a piece is <unk>
  bool fuse_unk = true;                            // neighbouring unknown characters are one <unk>
  int32_t unk = -1, bos = -1, eos = -1, pad = -1;  // -1: there is none
  std::string unk_surface = " \u2047 ";            // what <unk> decodes to
};

class SentencePiece : public Tokenizer {
 public:
  // FileError naming `path`: two pieces with the same text, an empty or overlong piece, byte pieces missing,
  // ids out of range.
  explicit SentencePiece(SentencePieceParts parts, const std::string& path = "SentencePiece");

  // UsageError: not UTF-8; a character that has no piece where there is neither byte fallback nor <unk>.
  std::vector<int32_t> encode(std::string_view text) const override;
  // As SentencePiece does it: the dummy prefix is dropped, control pieces give nothing, <unk> gives " ⁇ ",
  // and bytes that do not make a character give U+FFFD each.
  std::string decode(const std::vector<int32_t>& ids) const override;
  int64_t vocab_size() const override { return int64_t(parts_.pieces.size()); }
  std::string token(int32_t id) const override;  // "▁" as a space, byte pieces as the byte
  void save(const std::string& folder) const override;
  const SentencePieceParts& parts() const { return parts_; }

 private:
  using Splits =
      std::unordered_map<int32_t, std::pair<int32_t, int32_t>>;  // merged symbol -> the pair it came from
  void index_pieces(const std::string& path);
  void index_score_merges();
  void index_given_merges(const std::string& path);
  std::string normalize(std::string_view text) const;
  std::vector<std::string_view> words(std::string_view stretch) const;
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;
  void append_symbol(int32_t symbol, const Splits& splits, std::vector<int32_t>& ids) const;
  void append_fallback(std::string_view character, std::vector<int32_t>& ids) const;

  SentencePieceParts parts_;
  // Text -> symbol, of the pieces that text can become. A symbol is a piece's id, or, from vocab_size() on, a
  // character that only occurs inside pieces: it can still be merged into them.
  std::unordered_map<std::string, int32_t> symbol_of_;
  std::vector<std::string> extra_characters_;  // text of symbol vocab_size() + i
  std::vector<SpecialToken> user_defined_;     // pieces found in the text before anything else
  MergeTable merges_;
  int32_t byte_ids_[256];
  bool has_unused_ = false;
  bool merges_cross_words_ = false;  // some piece has a space after its first letter
};

// A SentencePiece `.model` file: a ModelProto in protobuf's wire format. FileError: not that, truncated, or
// of a kind that is not supported (unigram, word or character models; character maps for normalisation).
std::unique_ptr<SentencePiece> parse_sentencepiece(std::string_view bytes, const std::string& path);
std::unique_ptr<SentencePiece> load_sentencepiece(const std::string& path);

// All merges that scores imply: for each text, every cut into two known texts. `texts[i]` is symbol i; merge
// rank: by falling score, equal scores have equal rank. Symbols with target[i] false can be parts of a merge
// but not the result of one.
// Used by SentencePiece and by llama2.c's tokenizer.
MergeTable merges_from_scores(const std::vector<std::string>& texts, const std::vector<float>& scores,
                              const std::vector<bool>& target,
                              const std::unordered_map<std::string, int32_t>& symbol_of);

}  // namespace chalk
