// GPT-2's byte-level BPE: golden cases, round trips, fast against naive merging, hostile files.
#include "models/text/byte_bpe.h"

#include <gtest/gtest.h>

#include <random>

#include "models/text/byte_alphabet.h"
#include "tests/models/text/golden.h"

namespace chalk {
namespace {

std::string gpt2_folder() {
  return data_folder() + "/tokenizers/gpt2";
}

const ByteBpe& gpt2() {
  static const auto tokenizer = load_gpt2_bpe(gpt2_folder() + "/encoder.json", gpt2_folder() + "/vocab.bpe");
  return *tokenizer;
}

// Random text made of what pre-tokenisers trip over.
std::string random_text(std::mt19937& random, int parts) {
  static const std::vector<std::string> kParts = {" ",
                                                  "  ",
                                                  "\t",
                                                  "\n",
                                                  "\r\n",
                                                  "'",
                                                  "'s",
                                                  "'LL",
                                                  "a",
                                                  "the",
                                                  "Zoë",
                                                  "é",
                                                  "e\u0301",
                                                  "7",
                                                  "12345",
                                                  "½",
                                                  "!",
                                                  "...",
                                                  "_",
                                                  "日本",
                                                  "😀",
                                                  "\u00A0",
                                                  "\u3000",
                                                  "\u180E",
                                                  "\u200B",
                                                  "\u2028",
                                                  "ſ",
                                                  "'ſ",
                                                  std::string(1, '\0'),
                                                  "<|endoftext|>"};
  std::string text;
  for (int i = 0; i < parts; i++) text += kParts[random() % kParts.size()];
  return text;
}

TEST(ByteAlphabet, IsGpt2s) {
  EXPECT_EQ(byte_alphabet()[' '], 0x120);
  EXPECT_EQ(byte_alphabet()['\n'], 0x10A);
  EXPECT_EQ(byte_alphabet()[0x7F], 0x121);
  EXPECT_EQ(byte_alphabet()[0xAD], 0x143);
  EXPECT_EQ(byte_alphabet()['A'], 'A');
  EXPECT_EQ(byte_order()[0], '!');
  EXPECT_EQ(byte_order()[188], 0x00);
  EXPECT_EQ(byte_order()[220], ' ');
  EXPECT_EQ(byte_order()[255], 0xAD);
  std::string all;
  for (int byte = 0; byte < 256; byte++) all += char(byte);
  EXPECT_EQ(letters_to_bytes(bytes_to_letters(all)), all);
  EXPECT_EQ(letters_to_bytes("a b"), std::nullopt);  // a real space is not a letter
}

TEST(ByteBpe, GoldenGpt2) {
  SKIP_WITHOUT(gpt2_folder());
  SKIP_WITHOUT(golden_folder() + "/tokenizers/gpt2.json");
  const nlohmann::json golden = golden_tokenizer_cases("gpt2.json");
  expect_golden_cases(gpt2(), golden["cases"]);
  for (const auto& test : golden["cases"]) {
    const std::string text = test["text"];
    std::vector<std::string> words;
    for (const std::string_view word : gpt2().words(text)) words.emplace_back(word);
    EXPECT_EQ(words, test["pieces"].get<std::vector<std::string>>());
  }
}

TEST(ByteBpe, Gpt2RolesAndSpecials) {
  SKIP_WITHOUT(gpt2_folder());
  EXPECT_EQ(gpt2().vocab_size(), 50257);
  EXPECT_EQ(gpt2().bos, 50256);
  EXPECT_EQ(gpt2().eos, 50256);
  EXPECT_FALSE(gpt2().add_bos);
  EXPECT_EQ(gpt2().encode("<|endoftext|>"), (std::vector<int32_t>{27, 91, 437, 1659, 5239, 91, 29}));
  EXPECT_EQ(encode_with_specials(gpt2(), "Hello world<|endoftext|> hello"),
            (std::vector<int32_t>{15496, 995, 50256, 23748}));
  EXPECT_EQ(gpt2().token(995), " world");
  EXPECT_EQ(gpt2().token(220), " ");
}

TEST(ByteBpe, RoundTripsWholeFiles) {
  SKIP_WITHOUT(gpt2_folder());
  for (const char* name :
       {"/text/tinyshakespeare.txt", "/text/wikitext-2/valid.txt", "/text/wikitext-2/test.txt"}) {
    SKIP_WITHOUT(data_folder() + name);
    const std::string text = read_text(data_folder() + name);
    EXPECT_EQ(gpt2().decode(gpt2().encode(text)), text) << name;
  }
}

TEST(ByteBpe, FastMergingIsNaiveMerging) {
  SKIP_WITHOUT(gpt2_folder());
  std::mt19937 random(1);
  for (int i = 0; i < 2000; i++) {
    const std::string text = random_text(random, 1 + random() % 30);
    std::vector<int32_t> naive;
    std::string joined;
    for (const std::string_view word : gpt2().words(text)) {
      EXPECT_FALSE(word.empty());
      joined += word;
      const std::vector<int32_t> ids = gpt2().encode_word_naive(word);
      naive.insert(naive.end(), ids.begin(), ids.end());
    }
    EXPECT_EQ(joined, text);
    EXPECT_EQ(gpt2().encode(text), naive) << text;
    EXPECT_EQ(gpt2().decode(naive), text);
  }
}

// A vocabulary of 256 bytes and the given merges.
ByteBpeParts bytes_and_merges(const std::vector<std::pair<std::string, std::string>>& merges) {
  ByteBpeParts parts;
  for (int byte = 0; byte < 256; byte++) parts.tokens.emplace_back(1, char(byte));
  const auto id = [&](const std::string& token) {
    return int32_t(std::find(parts.tokens.begin(), parts.tokens.end(), token) - parts.tokens.begin());
  };
  for (const auto& [left, right] : merges) {
    parts.merges.push_back({id(left), id(right)});
    parts.tokens.push_back(left + right);
  }
  return parts;
}

TEST(ByteBpe, MergesByRankAndNotByLength) {
  // "abc" with bc first: a|bc, although "ab" is also a token.
  EXPECT_EQ(ByteBpe(bytes_and_merges({{"b", "c"}, {"a", "b"}})).encode("abc"),
            (std::vector<int32_t>{'a', 256}));
  EXPECT_EQ(ByteBpe(bytes_and_merges({{"a", "b"}, {"b", "c"}})).encode("abc"),
            (std::vector<int32_t>{256, 'c'}));
}

TEST(ByteBpe, WholeWordsFirst) {
  ByteBpeParts parts = bytes_and_merges({{"a", "b"}});
  parts.tokens.push_back("abcd");  // no merge leads here
  parts.patterns = {kLlama3Pattern};
  EXPECT_EQ(ByteBpe(parts).encode("abcd"), (std::vector<int32_t>{256, 'c', 'd'}));
  parts.whole_words_first = true;
  EXPECT_EQ(ByteBpe(parts).encode("abcd"), (std::vector<int32_t>{257}));
}

TEST(ByteBpe, FixedWordsArePartOfEveryText) {
  ByteBpeParts parts = bytes_and_merges({{"a", "b"}});
  parts.tokens.push_back("<tool>");
  parts.fixed_words = {{"<tool>", 257}};
  EXPECT_EQ(ByteBpe(parts).encode("ab<tool>ab"), (std::vector<int32_t>{256, 257, 256}));
}

TEST(ByteBpe, RefusesWhatItCannotSay) {
  const ByteBpe bpe(bytes_and_merges({}));
  EXPECT_THROW(bpe.encode("abc\xFF"), UsageError);
  EXPECT_THROW(bpe.encode("\xC3"), UsageError);
  EXPECT_THROW(bpe.decode({256}), UsageError);
  EXPECT_THROW(bpe.decode({-1}), UsageError);
  ByteBpeParts few;
  few.tokens = {"a", "b"};
  EXPECT_THROW(ByteBpe(few).encode("abc"), UsageError);
  ByteBpeParts nfc = bytes_and_merges({});
  nfc.needs_nfc = true;
  EXPECT_EQ(ByteBpe(nfc).encode("é").size(), 2u);
  EXPECT_THROW(ByteBpe(nfc).encode("e\u0301"), UsageError);
}

TEST(ByteBpe, HostileFiles) {
  const auto error = [](const std::string& vocabulary, const std::string& merges) {
    return file_error([&] { parse_gpt2_bpe(vocabulary, "vocab.json", merges, "merges.txt"); });
  };
  const std::string good = R"({"a": 0, "b": 1, "ab": 2})";
  EXPECT_EQ(parse_gpt2_bpe(good, "", "#version: 0.2\na b\n\n", "")->encode("ab"), (std::vector<int32_t>{2}));
  EXPECT_TEXT_IN("vocab.json", error("{", ""));
  EXPECT_TEXT_IN("object", error("[1, 2]", ""));
  EXPECT_TEXT_IN("integer", error(R"({"a": "0"})", ""));
  EXPECT_TEXT_IN("integer", error(R"({"a": 0.0})", ""));
  EXPECT_TEXT_IN("expected 0 to 0", error(R"({"a": 4000000000})", ""));
  EXPECT_TEXT_IN("expected 0 to 0", error(R"({"a": -1})", ""));
  EXPECT_TEXT_IN("expected 0 to 0", error(R"({"a": 18446744073709551615})", ""));
  EXPECT_TEXT_IN("id 0 is given to", error(R"({"a": 0, "b": 0})", ""));
  EXPECT_TEXT_IN("empty", error(R"({"": 0})", ""));
  EXPECT_TEXT_IN("line 2", error(good, "#version: 0.2\na c\n"));
  EXPECT_TEXT_IN("two tokens", error(good, "ab\n"));
  EXPECT_TEXT_IN("two tokens", error(good, "a b b\n"));
  EXPECT_TEXT_IN("not in the vocabulary", error(good, "b a\n"));
  EXPECT_TEXT_IN("twice", error(good, "a b\na b\n"));
}

TEST(Pretokenizer, Llama3Pattern) {
  // Golden pre-tokens of the published scanner.
  const Pretokenizer llama3(kLlama3Pattern);
  const auto split = [&](const std::string& text) {
    std::vector<std::string> words;
    for (const std::string_view word : llama3.split(text)) words.emplace_back(word);
    return words;
  };
  using Words = std::vector<std::string>;
  EXPECT_EQ(split("Hello  world\n\n  x"), (Words{"Hello", " ", " world", "\n\n", " ", " x"}));
  EXPECT_EQ(split("don't DON'T"), (Words{"don", "'t", " DON", "'T"}));
  EXPECT_EQ(split("12345678"), (Words{"123", "456", "78"}));
  EXPECT_EQ(split("a_b(c);\n\nint x"), (Words{"a", "_b", "(c", ");\n\n", "int", " x"}));
  EXPECT_EQ(split("\tx = 3.14"), (Words{"\tx", " =", " ", "3", ".", "14"}));
  EXPECT_EQ(split("end  \n "), (Words{"end", "  \n", " "}));
}

TEST(Pretokenizer, MongolianVowelSeparatorIsNotASpace) {
  const Pretokenizer spaces(R"(\s+|[^\s]+|\S)");
  EXPECT_EQ(spaces.split("a\u180Eb").size(), 1u);
  EXPECT_EQ(spaces.split("a\u3000b").size(), 3u);
}

TEST(Pretokenizer, BadPatterns) {
  EXPECT_TEXT_IN("cannot compile", file_error([] { Pretokenizer("(", "tokenizer.json", "pre_tokenizer"); }));
  EXPECT_TEXT_IN("at most", file_error([] { Pretokenizer(std::string(100000, 'a')); }));
  EXPECT_TEXT_IN("cannot compile", file_error([] { Pretokenizer(R"(\C)"); }));
  // Exponential backtracking ends with an error, not never.
  EXPECT_THROW(Pretokenizer("(?:a+)+b|(?:a|aa)+$c").split(std::string(5000, 'a')), Error);
  // Empty matches and lookbehind tricks still give every byte once.
  for (const char* pattern : {"", "x*", "(?=b)", "(?<=a)", "$", "^", R"(a\Kb)"}) {
    std::string joined;
    for (const std::string_view word : Pretokenizer(pattern).split("aébab")) joined += word;
    EXPECT_EQ(joined, "aébab") << pattern;
  }
}

}  // namespace
}  // namespace chalk
