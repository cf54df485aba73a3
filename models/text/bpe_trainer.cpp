// Learning a byte-level BPE vocabulary, with pair counts that are updated and not recounted.
#include "models/text/bpe_trainer.h"

#include <algorithm>
#include <queue>
#include <tuple>
#include <unordered_map>

#include "autograd/check.h"
#include "models/text/byte_alphabet.h"
#include "models/text/special_tokens.h"
#include "models/text/utf8.h"

namespace chalk {
namespace {

// One distinct word of the corpus, in the tokens learned so far.
struct Word {
  std::vector<int32_t> symbols;
  int64_t count = 0;  // how often it occurs
};

// What is known about a pair of neighbours.
struct PairCount {
  int64_t count = 0;           // occurrences in all words, times the count of each word
  std::vector<int32_t> words;  // every word that holds the pair, and some that held it before
};

// A count that was right when it was pushed; the best candidate is on top of the heap.
struct Candidate {
  int64_t count;
  int32_t left, right;
  bool operator<(const Candidate& other) const {
    return std::tie(count, other.left, other.right) < std::tie(other.count, left, right);
  }
};

using WordCounts = std::unordered_map<std::string_view, int64_t>;

class Trainer {
 public:
  Trainer(const WordCounts& counts, const std::vector<int32_t>& byte_ids) {
    // Sorted, so that nothing depends on the order inside a hash table.
    std::vector<std::pair<std::string_view, int64_t>> sorted(counts.begin(), counts.end());
    std::sort(sorted.begin(), sorted.end());
    for (const auto& [text, count] : sorted) {
      Word word{{}, count};
      for (const char byte : text) word.symbols.push_back(byte_ids[uint8_t(byte)]);
      words_.push_back(std::move(word));
      add_pairs(int32_t(words_.size() - 1), +1);
    }
    push_touched();
  }

  // The best pair by its true count; count 0 if there is none left. A candidate whose count has changed since
  // goes back into the heap with the true one.
  Candidate best() {
    while (!heap_.empty()) {
      const Candidate top = heap_.top();
      const int64_t count = pairs_[key(top.left, top.right)].count;
      if (count == top.count) return top;
      heap_.pop();
      if (count > 0 && count < top.count) heap_.push({count, top.left, top.right});
    }
    return {0, 0, 0};
  }

  // Replaces the pair by `id` everywhere. Only the words that hold it are looked at.
  void merge(const Candidate& pair, int32_t id) {
    std::vector<int32_t> holders;
    holders.swap(pairs_[key(pair.left, pair.right)].words);
    std::sort(holders.begin(), holders.end());
    holders.erase(std::unique(holders.begin(), holders.end()), holders.end());
    for (const int32_t w : holders) {
      add_pairs(w, -1);
      replace(words_[w].symbols, pair.left, pair.right, id);
      add_pairs(w, +1);
    }
    push_touched();
  }

 private:
  static uint64_t key(int32_t left, int32_t right) {
    return uint64_t(uint32_t(left)) << 32 | uint32_t(right);
  }

  static void replace(std::vector<int32_t>& symbols, int32_t left, int32_t right, int32_t id) {
    size_t out = 0;
    for (size_t i = 0; i < symbols.size(); out++) {
      const bool here = i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right;
      symbols[out] = here ? id : symbols[i];
      i += here ? 2 : 1;
    }
    symbols.resize(out);
  }

  void add_pairs(int32_t w, int sign) {
    const Word& word = words_[w];
    for (size_t i = 0; i + 1 < word.symbols.size(); i++) {
      const uint64_t pair = key(word.symbols[i], word.symbols[i + 1]);
      PairCount& known = pairs_[pair];
      known.count += sign * word.count;
      if (sign > 0) {
        if (known.words.empty() || known.words.back() != w) known.words.push_back(w);
        touched_.push_back(pair);
      }
    }
  }

  // A pair whose count only fell needs no new candidate: best() repairs the old one.
  void push_touched() {
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    for (const uint64_t pair : touched_)
      heap_.push({pairs_[pair].count, int32_t(pair >> 32), int32_t(uint32_t(pair))});
    touched_.clear();
  }

  std::vector<Word> words_;
  std::unordered_map<uint64_t, PairCount> pairs_;
  std::vector<uint64_t> touched_;  // pairs whose count may have risen
  std::priority_queue<Candidate> heap_;
};

void count_words(WordCounts& counts, std::string_view text, const Pretokenizer& pretokenizer,
                 const std::vector<SpecialToken>& specials) {
  check_utf8(text);
  for (const TextStretch& stretch : split_at_specials(text, specials)) {
    if (stretch.id >= 0) continue;
    for (const std::string_view word : pretokenizer.split(stretch.text)) counts[word]++;
  }
}

std::unique_ptr<ByteBpe> train(const std::vector<std::string_view>& texts, const BpeTrainerOptions& options) {
  const int64_t first_merge = int64_t(options.specials.size()) + 256;
  if (options.vocab_size < first_merge || options.vocab_size > INT32_MAX) {
    throw UsageError(
        fmt::format("BPE vocabulary of {} tokens: expected at least {} (256 bytes and {} special tokens)",
                    options.vocab_size, first_merge, options.specials.size()));
  }
  ByteBpeParts parts;
  parts.patterns = {options.pattern};
  for (const std::string& special : options.specials) {
    parts.specials.push_back({special, int32_t(parts.tokens.size())});
    parts.tokens.push_back(special);
  }
  std::vector<int32_t> byte_ids(256);
  std::unordered_map<std::string, int32_t> id_of;
  for (const uint8_t byte : byte_order()) {
    byte_ids[byte] = int32_t(parts.tokens.size());
    parts.tokens.emplace_back(1, char(byte));
    id_of[parts.tokens.back()] = byte_ids[byte];
  }

  WordCounts counts;
  const Pretokenizer pretokenizer(options.pattern);
  for (const std::string_view text : texts) count_words(counts, text, pretokenizer, parts.specials);
  Trainer trainer(counts, byte_ids);
  while (int64_t(parts.tokens.size()) < options.vocab_size) {
    const Candidate best = trainer.best();
    if (best.count < std::max<int64_t>(1, options.min_count)) break;
    // Two pairs can spell the same bytes, a + bc and ab + c: they become one token.
    const std::string bytes = parts.tokens[best.left] + parts.tokens[best.right];
    const auto [token, is_new] = id_of.emplace(bytes, int32_t(parts.tokens.size()));
    if (is_new) parts.tokens.push_back(bytes);
    parts.merges.push_back({best.left, best.right});
    trainer.merge(best, token->second);
  }
  auto tokenizer = std::make_unique<ByteBpe>(std::move(parts));
  name_special_roles(*tokenizer);
  return tokenizer;
}

}  // namespace

std::unique_ptr<ByteBpe> train_bpe(std::string_view text, const BpeTrainerOptions& options) {
  return train({text}, options);
}

std::unique_ptr<ByteBpe> train_bpe(const std::vector<std::string>& documents,
                                   const BpeTrainerOptions& options) {
  return train({documents.begin(), documents.end()}, options);
}

}  // namespace chalk
