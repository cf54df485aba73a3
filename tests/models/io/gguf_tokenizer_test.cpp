// The tokenizer inside a GGUF file against llama.cpp's own test vectors.
#include "models/io/gguf_tokenizer.h"

#include <sstream>

#include "models/io/file.h"
#include "models/io/gguf.h"
#include "models/text/bpe_trainer.h"
#include "models/text/char_tokenizer.h"
#include "models/text/sentencepiece.h"
#include "models/text/word_tokenizer.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

// Texts of an .inp file: a line "__ggml_vocab_test__" stands between them.
std::vector<std::string> texts_of(const std::string& path) {
  const std::string all = read_text(path), separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  size_t begin = 0;
  for (size_t end = all.find(separator); end != std::string::npos; end = all.find(separator, begin)) {
    texts.push_back(all.substr(begin, end - begin));
    begin = end + separator.size();
  }
  texts.push_back(all.substr(begin));
  return texts;
}

TEST(GgufTokenizer, LlamaCppsTestVectors) {
  const std::string path = data_folder() + "/gguf/ggml-vocab-llama-spm.gguf";
  SKIP_WITHOUT(path);
  const auto tokenizer = tokenizer_from_gguf(read_gguf(path).metadata);
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  EXPECT_EQ(tokenizer->bos, 1);
  EXPECT_EQ(tokenizer->eos, 2);
  std::istringstream lines(read_text(path + ".out"));
  int compared = 0;
  for (const std::string& text : texts_of(path + ".inp")) {
    std::string line;
    if (!std::getline(lines, line)) break;
    std::istringstream ids_text(line);
    const std::vector<int32_t> expected(std::istream_iterator<int32_t>(ids_text), {});
    EXPECT_EQ(tokenizer->encode(text), expected) << "text: " << text;
    ++compared;
  }
  EXPECT_GT(compared, 30);
}

// The tokenizer that a reader of the written keys gets.
std::unique_ptr<Tokenizer> through_gguf(const Tokenizer& tokenizer) {
  GgufMetadata metadata = tokenizer_to_gguf(tokenizer);
  metadata.path = "written.gguf";
  return tokenizer_from_gguf(metadata);
}

void expect_same_tokenizer(const Tokenizer& got, const Tokenizer& expected, const std::vector<std::string>& texts) {
  ASSERT_EQ(got.vocab_size(), expected.vocab_size());
  EXPECT_EQ(got.bos, expected.bos);
  EXPECT_EQ(got.eos, expected.eos);
  EXPECT_EQ(got.pad, expected.pad);
  EXPECT_EQ(got.add_bos, expected.add_bos);
  for (const std::string& text : texts) {
    EXPECT_EQ(got.encode(text), expected.encode(text)) << text;
    EXPECT_EQ(got.decode(expected.encode(text)), text);
  }
}

const std::vector<std::string> kTexts = {"Once upon a time, there was a little girl named Lily.", "na\u00efve caf\u00e9s \u2026",
                                         "two  spaces, a tab\tand\nlines", "it's 3,14 or 2026!"};

TEST(GgufTokenizer, ByteLevelBpeRoundTrips) {
  std::string text;
  for (const std::string& line : kTexts) text += line + "\n";
  const auto tokenizer = train_bpe(text, {.vocab_size = 300, .specials = {"<bos>", "<eos>", "<a b>"}});
  const auto back = through_gguf(*tokenizer);
  expect_same_tokenizer(*back, *tokenizer, kTexts);
  EXPECT_EQ(encode_with_specials(*back, "<bos>it's<a b>"), encode_with_specials(*tokenizer, "<bos>it's<a b>"));
}

TEST(GgufTokenizer, SentencePieceRoundTripsWithItsScores) {
  const std::string path = data_folder() + "/tokenizers/llama2/tokenizer.model";
  SKIP_WITHOUT(path);
  const auto tokenizer = load_tokenizer(path);
  expect_same_tokenizer(*through_gguf(*tokenizer), *tokenizer, kTexts);
}

TEST(GgufTokenizer, Llama2cRoundTripsWithScoresAndWithMerges) {
  const std::string path = data_folder() + "/models/stories260K/tok512.bin";
  SKIP_WITHOUT(path);
  const auto tokenizer = load_tokenizer(path);
  expect_same_tokenizer(*through_gguf(*tokenizer), *tokenizer, kTexts);
  TemporaryFolder folder;  // a tokenizer.json holds merges, no scores: they are made up again
  tokenizer->save(folder.path);
  expect_same_tokenizer(*through_gguf(*load_tokenizer(folder.path)), *tokenizer, kTexts);
}

TEST(GgufTokenizer, RefusesWhatTheFormatCannotSay) {
  EXPECT_THROW(tokenizer_to_gguf(WordTokenizer({"one", "two"})), Error);
  EXPECT_THROW(tokenizer_to_gguf(*build_char_tokenizer("abc")), Error);
  // No scores put "ab" before "cd" and "cd" before another "ab".
  SentencePieceParts parts;
  for (const char* piece : {"a", "b", "c", "d", "ab", "cd", "abc", "bc"}) parts.pieces.push_back({.text = piece});
  parts.has_merges = true;
  for (int byte = 0; byte < 256; ++byte) parts.pieces.push_back({fmt::format("<0x{:02X}>", byte), 0, PieceType::Byte});
  parts.merges = {{0, 1}, {2, 3}, {1, 2}, {4, 2}, {0, 7}};
  EXPECT_NO_THROW(tokenizer_to_gguf(SentencePiece(parts)));
  parts.merges = {{0, 1}, {4, 2}, {2, 3}, {1, 2}, {0, 7}};
  EXPECT_THROW(tokenizer_to_gguf(SentencePiece(parts)), Error);
  parts.merges = {{0, 1}, {2, 3}, {1, 2}, {4, 2}};  // "abc" from a and bc is left out
  EXPECT_THROW(tokenizer_to_gguf(SentencePiece(parts)), Error);
}

}  // namespace
}  // namespace chalk
