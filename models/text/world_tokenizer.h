#pragma once
// Creature Town's documents through any tokenizer: the word-level one that the world is made for, or subwords.

#include <memory>
#include <string>

#include "models/text/loader.h"
#include "models/text/tokenizer.h"
#include "models/text/world.h"

namespace chalk {

// One id per word, 417 of them; <bos>, <eos> and <pad> have their roles, and <bos> goes in front of every prompt.
std::unique_ptr<Tokenizer> make_world_tokenizer();

// The words with single spaces between them, specials included; answer marks are not text.
std::string document_text(const Document& document);

// Ids of `words` where they stand in such a text; `continues`: other words stand before them. To a subword tokenizer a space
// belongs to the word that follows it, and the space before a special token is a piece of its own: word by word, this gives
// the ids of the whole text.
std::vector<int32_t> encode_world(const Words& words, const Tokenizer& tokenizer, bool continues = false);

// Ids and loss weights: every piece of an answer word weighs `answer_weight`, every other piece 1.
TokenizedDocument encode_world(const Document& document, const Tokenizer& tokenizer, float answer_weight);

}  // namespace chalk
