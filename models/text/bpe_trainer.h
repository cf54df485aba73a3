#pragma once
// Learning a byte-level BPE vocabulary from text: start from the 256 bytes, and make the most frequent pair
// of neighbours a new token, again and again. Source: Sennrich et al. 2016, algorithm 1; byte-level as in
// GPT-2.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/text/byte_bpe.h"

namespace chalk {

struct BpeTrainerOptions {
  int64_t vocab_size = 512;  // special tokens + 256 bytes + merges
  // They get the first ids, in this order, and are never merged, also where they stand in the text.
  std::vector<std::string> specials = {};
  std::string pattern = kGpt2Pattern;  // cuts the text into words
  int64_t min_count = 2;               // a pair that is rarer is not merged
};

// Ids: special tokens, then the bytes in GPT-2's order (byte_order()), then the merges in the order they were
// learned.
// Each merge takes the pair with the highest count, of equal counts the one with the smallest left id, then
// the smallest right id: the same text always gives the same vocabulary. Stops early when no pair is left, so
// vocab_size() may be smaller than asked.
// UsageError: vocab_size too small for specials and bytes, or the text is not UTF-8.
std::unique_ptr<ByteBpe> train_bpe(std::string_view text, const BpeTrainerOptions& options);
std::unique_ptr<ByteBpe> train_bpe(const std::vector<std::string>& documents,
                                   const BpeTrainerOptions& options);

}  // namespace chalk
