// Training BPE: against a trainer that recounts everything, ties, determinism, special tokens.
#include "models/text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/models/text/golden.h"

namespace chalk {
namespace {

std::vector<std::string> merged_tokens(const ByteBpe& bpe) {
  std::vector<std::string> tokens;
  for (const auto& [left, right] : bpe.parts().merges)
    tokens.push_back(bpe.token(left) + "|" + bpe.token(right));
  return tokens;
}

// The definition, with no cleverness: count all pairs of all words again for each merge.
std::vector<std::string> train_by_the_book(const std::string& text, const BpeTrainerOptions& options) {
  BpeTrainerOptions only_bytes = options;
  only_bytes.vocab_size = 256;
  const auto bytes = train_bpe(text, only_bytes);
  std::vector<std::string> tokens = bytes->parts().tokens, merges;
  std::vector<std::vector<int32_t>> words;
  for (const std::string_view word : bytes->words(text)) words.push_back(bytes->encode_word_naive(word));
  while (int64_t(tokens.size()) < options.vocab_size) {
    std::map<std::pair<int32_t, int32_t>, int64_t>
        counts;  // sorted by (left, right): the first maximum wins a tie
    for (const auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); i++) counts[{word[i], word[i + 1]}]++;
    }
    auto best = counts.end();
    for (auto pair = counts.begin(); pair != counts.end(); ++pair) {
      if (best == counts.end() || pair->second > best->second) best = pair;
    }
    if (best == counts.end() || best->second < options.min_count) break;
    const auto [left, right] = best->first;
    const std::string merged = tokens[left] + tokens[right];
    int32_t id = int32_t(std::find(tokens.begin(), tokens.end(), merged) - tokens.begin());
    if (id == int32_t(tokens.size())) tokens.push_back(merged);
    merges.push_back(tokens[left] + "|" + tokens[right]);
    MergeTable one;
    one.insert({left, right, 0, id});
    for (auto& word : words) merge_naive(word, one);
  }
  return merges;
}

TEST(BpeTrainer, TheTextbookExample) {
  // aaabdaaabac: aa first, then of ab (2) and aa|a (2) the one with the smaller ids: 'a' + 'b'.
  BpeTrainerOptions options{.vocab_size = 258, .specials = {}, .pattern = "(?s).+"};
  EXPECT_EQ(merged_tokens(*train_bpe(std::string("aaabdaaabac"), options)),
            (std::vector<std::string>{"a|a", "a|b"}));
}

TEST(BpeTrainer, FastIsByTheBook) {
  std::mt19937 random(7);
  for (int round = 0; round < 20; round++) {
    std::string text;
    for (int i = 0; i < 400; i++) text += "aaab c"[random() % 6];
    BpeTrainerOptions options{.vocab_size = 290};
    if (round % 2) options.pattern = "[^c]+";
    EXPECT_EQ(merged_tokens(*train_bpe(text, options)), train_by_the_book(text, options)) << text;
  }
}

TEST(BpeTrainer, SpecialsComeFirstAndAreNeverMerged) {
  std::string text;
  for (int i = 0; i < 50; i++) text += "<bos> the cat <eos>";
  BpeTrainerOptions options{.vocab_size = 2 + 256 + 10, .specials = {"<bos>", "<eos>"}};
  const auto bpe = train_bpe(text, options);
  EXPECT_EQ(bpe->token(0), "<bos>");
  EXPECT_EQ(bpe->token(2), "!");
  EXPECT_EQ(bpe->bos, 0);
  EXPECT_EQ(bpe->eos, 1);
  EXPECT_TRUE(bpe->add_bos);
  for (int32_t id = 2; id < bpe->vocab_size(); id++)
    EXPECT_EQ(bpe->token(id).find('<'), bpe->token(id) == "<" ? 0 : std::string::npos);
  const std::vector<int32_t> ids = encode_with_specials(*bpe, "<bos> the cat <eos>");
  EXPECT_EQ(ids.front(), 0);
  EXPECT_EQ(ids.back(), 1);
  EXPECT_EQ(bpe->decode(ids), "<bos> the cat <eos>");
  EXPECT_EQ(bpe->decode(bpe->encode("<bos> ünseen")), "<bos> ünseen");
}

TEST(BpeTrainer, StopsWhenNoPairIsLeft) {
  EXPECT_EQ(train_bpe(std::string("abab"), {.vocab_size = 5000})->vocab_size(),
            256 + 1);  // "abab" itself occurs once
  EXPECT_EQ(train_bpe(std::string(), {.vocab_size = 300})->vocab_size(), 256);
  EXPECT_EQ(train_bpe(std::string("abab"), {.vocab_size = 5000, .min_count = 1})->vocab_size(), 256 + 2);
}

TEST(BpeTrainer, RefusesBadRequests) {
  EXPECT_THROW(train_bpe(std::string("a"), {.vocab_size = 255}), UsageError);
  EXPECT_THROW(train_bpe(std::string("a"), {.vocab_size = 256, .specials = {"<s>"}}), UsageError);
  EXPECT_THROW(train_bpe(std::string("\xFF"), {.vocab_size = 300}), UsageError);
}

TEST(BpeTrainer, ShakespeareTwiceTheSame) {
  const std::string path = data_folder() + "/text/tinyshakespeare.txt";
  SKIP_WITHOUT(path);
  const std::string text = read_text(path);
  const auto first = train_bpe(text, {.vocab_size = 512}), second = train_bpe(text, {.vocab_size = 512});
  EXPECT_EQ(first->parts().merges, second->parts().merges);
  EXPECT_EQ(first->vocab_size(), 512);
  const std::vector<int32_t> ids = first->encode(text);
  EXPECT_EQ(first->decode(ids), text);
  const double bytes_per_token = double(text.size()) / ids.size();
  EXPECT_GT(bytes_per_token, 1.9);  // 256 merges on a megabyte of English: about 2.0 to 2.6 bytes per token
  EXPECT_LT(bytes_per_token, 2.6);
}

}  // namespace
}  // namespace chalk
