#pragma once
// Byte-level BPE (GPT-2, LLaMA-3, and what bpe_trainer.h trains): text is cut into words by a pattern, each
// word starts as its UTF-8 bytes, and merges grow them into tokens. Every byte is a token, so every text can
// be written.
// Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "models/text/bpe_merges.h"
#include "models/text/pretokenizer.h"
#include "models/text/tokenizer.h"

namespace chalk {

// All that defines a byte-level BPE tokenizer.
struct ByteBpeParts {
  std::vector<std::string> tokens;                  // id -> raw bytes (of a special token: its text)
  std::vector<std::pair<int32_t, int32_t>> merges;  // (left id, right id), best first
  std::vector<SpecialToken> specials;               // never produced by encode()
  std::vector<SpecialToken>
      fixed_words;  // found in every text before anything else (Hugging Face: added tokens)
  // The pre-tokeniser: one pattern after another, each cutting the pieces of the one before it.
  std::vector<std::string> patterns;
  bool whole_words_first =
      false;  // LLaMA-3: a word that is itself a token is not merged (Hugging Face: ignore_merges)
  bool add_prefix_space = false;  // a text that does not start with a space gets one
  bool needs_nfc = false;         // Qwen2: the text should be in Unicode's composed form; see encode()
};

class ByteBpe : public Tokenizer {
 public:
  // FileError naming `path`: two tokens with the same bytes, a merge whose result is not a token, a bad
  // pattern.
  explicit ByteBpe(ByteBpeParts parts, const std::string& path = "byte-level BPE");
  ByteBpe(const ByteBpe&) = delete;  // id_of_ points into parts_
  ByteBpe& operator=(const ByteBpe&) = delete;

  // UsageError: not UTF-8; a byte that has no token. With needs_nfc also: a character that composition might
  // change (Chalk has no composition tables, and wrong ids would be worse than none).
  std::vector<int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<int32_t>& ids) const override;  // special tokens give their text
  int64_t vocab_size() const override { return int64_t(parts_.tokens.size()); }
  std::string token(int32_t id) const override;
  void save(const std::string& folder) const override;

  // The words that merges cannot cross, as slices of `text`.
  std::vector<std::string_view> words(std::string_view text) const;
  // Ids of one word, by the book (merge_naive): the oracle for encode().
  std::vector<int32_t> encode_word_naive(std::string_view word) const;
  const ByteBpeParts& parts() const { return parts_; }

 private:
  struct WordCache;
  void check_special(const SpecialToken& special, const std::string& path) const;
  void index_tokens(const std::string& path);
  void index_merges(const std::string& path);
  std::vector<int32_t> bytes_to_ids(std::string_view word) const;
  std::vector<int32_t> encode_word(std::string_view word) const;
  void encode_stretch(std::string_view text, std::vector<int32_t>& ids) const;

  ByteBpeParts parts_;
  std::vector<Pretokenizer> pretokenizers_;
  std::array<int32_t, 256> byte_ids_;                    // -1: this byte is not a token
  std::unordered_map<std::string_view, int32_t> id_of_;  // bytes -> id, specials left out; views into parts_
  MergeTable merges_;
  std::shared_ptr<WordCache> cache_;  // words seen before, shared by all calls; guarded by its mutex
};

// GPT-2's pair of files: a vocabulary (JSON, letters of byte_alphabet.h -> id) and the merges (a text file,
// one "A B" a line).
// "<|endoftext|>" is BOS, EOS and the only special token, if the vocabulary has it.
// FileError: not JSON, ids that are not 0 to V-1, a merge of unknown tokens. The paths name the files in
// messages.
std::unique_ptr<ByteBpe> parse_gpt2_bpe(std::string_view vocab_json, const std::string& vocab_path,
                                        std::string_view merges, const std::string& merges_path);
std::unique_ptr<ByteBpe> load_gpt2_bpe(const std::string& vocab_path, const std::string& merges_path);

}  // namespace chalk
