#pragma once
// One word, one token: the tokenizer of the generated world, where every word is known. No model is easier to
// look into.
#include <memory>
#include <unordered_map>

#include "models/text/tokenizer.h"

namespace chalk {

class WordTokenizer : public Tokenizer {
 public:
  // `words[id]`. Special tokens are words too: encode() knows them, as Hugging Face does.
  // `unknown`: the word that stands for words outside the vocabulary, if there is one.
  // FileError naming `path`: an empty word, one with whitespace inside, or one that is there twice.
  explicit WordTokenizer(std::vector<std::string> words, std::vector<SpecialToken> specials = {},
                         std::optional<int32_t> unknown = {}, const std::string& path = "word list");

  // Splits at whitespace (space, tab, line ends). UsageError naming the word if it is not in the vocabulary.
  std::vector<int32_t> encode(std::string_view text) const override;
  // The words with single spaces between them.
  std::string decode(const std::vector<int32_t>& ids) const override;
  int64_t vocab_size() const override { return int64_t(words_.size()); }
  std::string token(int32_t id) const override;
  void save(const std::string& folder) const override;
  const std::vector<std::string>& words() const { return words_; }
  std::optional<int32_t> unknown() const { return unknown_; }

 private:
  std::vector<std::string> words_;
  std::unordered_map<std::string, int32_t> id_of_;
  std::optional<int32_t> unknown_;
};

// Special tokens first, then every other word of `text` in the order of its bytes (which is that of its code
// points).
std::unique_ptr<WordTokenizer> build_word_tokenizer(std::string_view text,
                                                    const std::vector<std::string>& specials = {});

}  // namespace chalk
