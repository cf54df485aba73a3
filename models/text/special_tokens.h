#pragma once
// Special tokens: finding them in a text, and what their customary names mean.
#include <string_view>
#include <vector>

#include "models/text/tokenizer.h"

namespace chalk {

// A stretch of a text: plain (id -1) or one special token.
struct TextStretch {
  std::string_view text;
  int32_t id;
};

// Cuts `text` at the special tokens: the leftmost first, of several at one place the longest. Joined, the
// stretches give the text.
std::vector<TextStretch> split_at_specials(std::string_view text, const std::vector<SpecialToken>& specials);

// Sets bos, eos, pad and add_bos from the names in tokenizer.specials: <s>, <bos> and <|begin_of_text|> begin
// a text and are put in front of it; </s>, <eos> and <|end_of_text|> end it; <|endoftext|> (GPT-2) separates
// texts: it is BOS and EOS, but not put in front.
void name_special_roles(Tokenizer& tokenizer);

}  // namespace chalk
