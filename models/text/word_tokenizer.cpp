// One word, one token.
#include "models/text/word_tokenizer.h"

#include <algorithm>
#include <set>

#include "autograd/check.h"
#include "models/text/special_tokens.h"
#include "models/text/utf8.h"

namespace chalk {
namespace {

constexpr const char* kSpaces = " \t\n\r\v\f";

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = text.find_first_not_of(kSpaces);
  while (begin != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(kSpaces, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(kSpaces, end);
  }
  return words;
}

}  // namespace

WordTokenizer::WordTokenizer(std::vector<std::string> words, std::vector<SpecialToken> special_words,
                             std::optional<int32_t> unknown, const std::string& path)
    : words_(std::move(words)), unknown_(unknown) {
  specials = std::move(special_words);
  for (int32_t id = 0; id < vocab_size(); id++) {
    const std::string& word = words_[id];
    if (split_words(word) != std::vector<std::string_view>{word}) {
      throw FileError(path, fmt::format("word {}", id),
                      in_quotes(word) + " is not one word: empty, or with whitespace inside");
    }
    const auto [same, is_new] = id_of_.emplace(word, id);
    if (!is_new)
      throw FileError(path, fmt::format("word {}", id),
                      fmt::format("{} is also word {}", in_quotes(word), same->second));
  }
  for (const SpecialToken& special : specials) {
    const auto word = id_of_.find(special.text);
    if (word == id_of_.end() || word->second != special.id) {
      throw FileError(path, "special token " + in_quotes(special.text),
                      fmt::format("is not word {}", special.id));
    }
  }
  name_special_roles(*this);
}

std::vector<int32_t> WordTokenizer::encode(std::string_view text) const {
  check_utf8(text);
  std::vector<int32_t> ids;
  for (const std::string_view word : split_words(text)) {
    const auto found = id_of_.find(std::string(word));
    if (found == id_of_.end() && !unknown_) {
      throw UsageError(
          fmt::format("word {} is not among the {} words of the vocabulary", in_quotes(word), vocab_size()));
    }
    ids.push_back(found == id_of_.end() ? *unknown_ : found->second);
  }
  return ids;
}

std::string WordTokenizer::token(int32_t id) const {
  check_id(*this, id);
  return words_[id];
}

std::string WordTokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (!text.empty()) text += ' ';
    text += token(id);
  }
  return text;
}

std::unique_ptr<WordTokenizer> build_word_tokenizer(std::string_view text,
                                                    const std::vector<std::string>& specials) {
  check_utf8(text);
  std::set<std::string> ordinary;
  for (const std::string_view word : split_words(text)) ordinary.emplace(word);
  std::vector<SpecialToken> special_words;
  std::vector<std::string> words;
  for (const std::string& special : specials) {
    ordinary.erase(special);
    special_words.push_back({special, int32_t(words.size())});
    words.push_back(special);
  }
  words.insert(words.end(), ordinary.begin(), ordinary.end());
  return std::make_unique<WordTokenizer>(std::move(words), std::move(special_words));
}

}  // namespace chalk
