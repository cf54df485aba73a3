#pragma once
// One character (Unicode code point), one token: the smallest vocabulary that still spells everything it has
// seen.
#include <memory>
#include <unordered_map>

#include "models/text/tokenizer.h"

namespace chalk {

class CharTokenizer : public Tokenizer {
 public:
  // `characters[id]`: one character each, except special tokens, whose text may be longer.
  // FileError naming `path`: a token that is not one character, or one that is there twice.
  explicit CharTokenizer(std::vector<std::string> characters, std::vector<SpecialToken> specials = {},
                         std::optional<int32_t> unknown = {}, const std::string& path = "character list");

  // UsageError naming the character if it is not in the vocabulary.
  std::vector<int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<int32_t>& ids) const override;  // special tokens give their text
  int64_t vocab_size() const override { return int64_t(characters_.size()); }
  std::string token(int32_t id) const override;
  void save(const std::string& folder) const override;
  const std::vector<std::string>& characters() const { return characters_; }
  std::optional<int32_t> unknown() const { return unknown_; }

 private:
  std::vector<std::string> characters_;
  std::unordered_map<int32_t, int32_t> id_of_;  // code point -> id
  std::optional<int32_t> unknown_;
};

// Special tokens first, then every character of `text` in the order of its code point.
std::unique_ptr<CharTokenizer> build_char_tokenizer(std::string_view text,
                                                    const std::vector<std::string>& specials = {});

// A vocab.json of the form {"a": 0, "b": 1, ...}. FileError: a token of more than one character, ids that are
// not 0 to V-1.
std::unique_ptr<CharTokenizer> parse_char_vocabulary(std::string_view json, const std::string& path);

}  // namespace chalk
