// Documents to ids.

#include "models/text/world_tokenizer.h"

#include "models/text/word_tokenizer.h"

namespace chalk {

std::unique_ptr<Tokenizer> make_world_tokenizer() {
  const Words& words = world_vocabulary();
  std::vector<SpecialToken> specials;
  for (size_t i = 0; i < world_lexicon().specials.size(); ++i) specials.push_back({words[i], int32_t(i)});
  auto tokenizer = std::make_unique<WordTokenizer>(words, specials);
  tokenizer->pad = 0, tokenizer->bos = 1, tokenizer->eos = 2;
  tokenizer->add_bos = true;
  return tokenizer;
}

std::string document_text(const Document& document) {
  std::string text;
  for (const std::string& word : document.words) text += (text.empty() ? "" : " ") + word;
  return text;
}

TokenizedDocument encode_world(const Document& document, const Tokenizer& tokenizer, float answer_weight) {
  TokenizedDocument tokenized;
  bool after_special = true;  // a space belongs to the word after it, but none stands at the start or after a special
  for (size_t i = 0; i < document.words.size(); ++i) {
    const std::string& word = document.words[i];
    const bool special = word.size() > 2 && word.front() == '<' && word.back() == '>';
    for (int32_t id : encode_with_specials(tokenizer, special || after_special ? word : " " + word)) {
      tokenized.ids.push_back(id);
      tokenized.weights.push_back(document.answer[i] ? answer_weight : 1);
    }
    after_special = special;
  }
  return tokenized;
}

}  // namespace chalk
