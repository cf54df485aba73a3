// What all tokenizers share: the check of an id, and encoding with special tokens recognised.
#include "models/text/tokenizer.h"

#include "autograd/check.h"
#include "models/text/special_tokens.h"

namespace chalk {

void check_id(const Tokenizer& tokenizer, int32_t id) {
  if (id < 0 || id >= tokenizer.vocab_size()) {
    throw UsageError(fmt::format("token id {} is out of range: the vocabulary has ids 0 to {}", id,
                                 tokenizer.vocab_size() - 1));
  }
}

std::vector<int32_t> encode_with_specials(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  for (const TextStretch& stretch : split_at_specials(text, tokenizer.specials)) {
    if (stretch.id >= 0) {
      ids.push_back(stretch.id);
    } else {
      const std::vector<int32_t> plain = tokenizer.encode(stretch.text);
      ids.insert(ids.end(), plain.begin(), plain.end());
    }
  }
  return ids;
}

}  // namespace chalk
