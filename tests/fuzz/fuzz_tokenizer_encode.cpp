// Fuzzes encoding itself: the fast merges must give what the naive ones give, and decoding must give the text
// back.
#include <cstdint>
#include <cstdlib>

#include "autograd/check.h"
#include "models/text/bpe_trainer.h"
#include "models/text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer =
      chalk::train_bpe(std::string("the cat sat on the mat, that's it: aaaa aaa aa\n\n  12 123 1234 h\u00e9 "
                                   "h\u00e9 the theme there\t\t the"),
                       {.vocab_size = 300});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (chalk::find_invalid_utf8(text) < size) {
    try {
      tokenizer->encode(text);
    } catch (const chalk::UsageError&) {
      return 0;
    }
    std::abort();  // accepted what is not UTF-8
  }
  std::vector<int32_t> naive;
  for (const std::string_view word : tokenizer->words(text)) {
    const std::vector<int32_t> ids = tokenizer->encode_word_naive(word);
    naive.insert(naive.end(), ids.begin(), ids.end());
  }
  if (tokenizer->encode(text) != naive || tokenizer->decode(naive) != text) std::abort();
  return 0;
}
