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

std::vector<int32_t> encode_world(const Words& words, const Tokenizer& tokenizer, bool continues) {
  std::vector<int32_t> ids;
  for (const std::string& word : words) {
    const std::vector<int32_t> pieces = encode_with_specials(tokenizer, continues ? " " + word : word);
    ids.insert(ids.end(), pieces.begin(), pieces.end());
    continues = true;
  }
  return ids;
}

TokenizedDocument encode_world(const Document& document, const Tokenizer& tokenizer, float answer_weight) {
  TokenizedDocument tokenized;
  for (size_t i = 0; i < document.words.size(); ++i) {
    for (int32_t id : encode_world(Words{document.words[i]}, tokenizer, i > 0)) {
      tokenized.ids.push_back(id);
      tokenized.weights.push_back(document.answer[i] ? answer_weight : 1);
    }
  }
  return tokenized;
}

}  // namespace chalk
