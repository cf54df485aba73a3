// llama2.c's tokenizer.bin: golden cases, what run.c prints, hostile files.
#include "models/text/llama2c_tokenizer.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

#include "models/text/sentencepiece.h"
#include "tests/models/text/golden.h"

namespace chalk {
namespace {

std::string tok512_path() {
  return data_folder() + "/models/stories260K/tok512.bin";
}

const Llama2cTokenizer& tok512() {
  static const auto tokenizer = load_llama2c_tokenizer(tok512_path());
  return *tokenizer;
}

TEST(Llama2cTokenizer, GoldenTok512) {
  SKIP_WITHOUT(tok512_path());
  SKIP_WITHOUT(golden_folder() + "/tokenizers/stories260K_tok512.json");
  expect_golden_cases(tok512(), golden_tokenizer_cases("stories260K_tok512.json")["cases"]);
  EXPECT_EQ(tok512().vocab_size(), 512);
  EXPECT_EQ(tok512().bos, 1);
  EXPECT_TRUE(tok512().add_bos);
}

TEST(Llama2cTokenizer, DecodesAsRunPrints) {
  SKIP_WITHOUT(tok512_path());
  EXPECT_EQ(tok512().decode({1, 403, 407}), "Once upon");  // the space after BOS goes
  EXPECT_EQ(tok512().decode({403, 407, 2}), "Once upon");
  EXPECT_EQ(tok512().decode({403, 1, 403}), "OnceOnce");
  EXPECT_EQ(tok512().decode({403, 2, 403}), "Once Once");
  EXPECT_EQ(tok512().decode({198, 174}), "ë");
  EXPECT_EQ(tok512().decode({198}), "\xC3");  // incomplete: the raw byte
  EXPECT_EQ(tok512().token(13), "\n");
  EXPECT_THROW(tok512().decode({512}), UsageError);
  EXPECT_THROW(tok512().encode("\xFF"), UsageError);
}

// run.c's encoder as its loop stands: find the best pair, merge it, start again.
std::vector<int32_t> encode_by_the_book(const Llama2cTokenizer& tokenizer, const std::vector<float>& scores,
                                        const std::unordered_map<std::string, int32_t>& id_of,
                                        const std::string& text) {
  std::vector<int32_t> ids = {id_of.at(" ")};
  for (size_t i = 0; i < text.size();) {
    size_t length = 1;
    while (i + length < text.size() && (text[i + length] & 0xC0) == 0x80) length++;
    const auto known = id_of.find(text.substr(i, length));
    if (known != id_of.end()) ids.push_back(known->second);
    for (size_t k = 0; known == id_of.end() && k < length; k++) ids.push_back(3 + uint8_t(text[i + k]));
    i += length;
  }
  while (true) {
    float best_score = -1e10f;
    int32_t best_id = -1;
    size_t best = 0;
    for (size_t i = 0; i + 1 < ids.size(); i++) {
      const bool bytes = (ids[i] >= 3 && ids[i] < 259) ||
                         (ids[i + 1] >= 3 && ids[i + 1] < 259);  // "<0x..>": never part of a piece
      const auto merged = id_of.find(tokenizer.token(ids[i]) + tokenizer.token(ids[i + 1]));
      if (!bytes && merged != id_of.end() && scores[merged->second] > best_score) {
        best_score = scores[merged->second], best_id = merged->second, best = i;
      }
    }
    if (best_id < 0) return ids;
    ids[best] = best_id;
    ids.erase(ids.begin() + best + 1);
  }
}

TEST(Llama2cTokenizer, HeapIsTheBook) {
  SKIP_WITHOUT(tok512_path());
  std::vector<float> scores;
  std::unordered_map<std::string, int32_t> id_of;
  for (int32_t id = 0; id < 512; id++) {
    scores.push_back(id < 259 ? 0.0f
                              : float(259 - id));  // the file's scores, as the data README of the format says
    if (id < 3 || id >= 259) id_of[tok512().token(id)] = id;
  }
  std::mt19937 random(3);
  for (int i = 0; i < 100; i++) {
    std::string text;
    for (int k = random() % 200; k >= 0; k--) text += " aehtndsé\nL.🙂"[random() % 10];
    while (!text.empty() && uint8_t(text.back()) >= 0x80) text.pop_back();
    std::erase_if(text, [](char c) { return uint8_t(c) >= 0x80; });
    text += random() % 2 ? "é" : "🙂";
    EXPECT_EQ(tok512().encode(text), encode_by_the_book(tok512(), scores, id_of, text)) << text;
  }
}

TEST(Llama2cTokenizer, AgreesWithSentencePieceOnOrdinaryText) {
  const std::string folder = data_folder() + "/tokenizers/llama2",
                    book = data_folder() + "/text/tinyshakespeare.txt";
  SKIP_WITHOUT(folder);
  SKIP_WITHOUT(book);
  const std::string text = read_text(book);
  EXPECT_EQ(load_llama2c_tokenizer(folder + "/tokenizer.bin")->encode(text),
            load_sentencepiece(folder + "/tokenizer.model")->encode(text));
  EXPECT_EQ(tok512().decode(tok512().encode(text)), text);
}

std::string u32(uint32_t value) {
  return {char(value), char(value >> 8), char(value >> 16), char(value >> 24)};
}
std::string piece(const std::string& text, float score = 0) {
  return u32(std::bit_cast<uint32_t>(score)) + u32(uint32_t(text.size())) + text;
}

std::string good_file() {
  std::string bytes = u32(10) + piece("<unk>") + piece("\n<s>\n") + piece("\n</s>\n");
  for (int byte = 0; byte < 256; byte++) bytes += piece(fmt::format("<0x{:02X}>", byte));
  return bytes + piece(" ") + piece("a");
}

TEST(Llama2cTokenizer, HostileFiles) {
  const auto error = [](const std::string& bytes) {
    return file_error([&] { parse_llama2c_tokenizer(bytes, "t.bin"); });
  };
  EXPECT_EQ(parse_llama2c_tokenizer(good_file(), "")->encode("aé"),
            (std::vector<int32_t>{259, 260, 198, 172}));
  EXPECT_TEXT_IN("truncated", error(""));
  EXPECT_TEXT_IN("expected at least 259", error(u32(10)));
  EXPECT_TEXT_IN("truncated", error(good_file() + "abc"));
  EXPECT_TEXT_IN("truncated", error(good_file() + u32(0) + u32(10) + "abc"));
  EXPECT_TEXT_IN("at most 10", error(good_file() + u32(0) + u32(0xFFFFFFFF)));
  EXPECT_TEXT_IN("truncated", error(u32(0xFFFFFFFF) + u32(0) + u32(0xFFFFFFFE)));
  EXPECT_TEXT_IN("also piece 260", error(good_file() + piece("a")));
  EXPECT_TEXT_IN("finite", error(good_file() + piece("b", NAN)));
  EXPECT_TEXT_IN("finite", error(good_file() + piece("b", INFINITY)));
  EXPECT_TEXT_IN("not UTF-8", error(good_file() + piece("\xFF")));
  EXPECT_TEXT_IN("expected 1 to", error(good_file() + piece("")));
  std::string wrong_byte = good_file();
  wrong_byte[wrong_byte.find("<0x41>") + 3] = '5';
  EXPECT_TEXT_IN("<0x41>", error(wrong_byte));
}

}  // namespace
}  // namespace chalk
