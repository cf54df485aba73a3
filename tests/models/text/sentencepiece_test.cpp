// SentencePiece .model files: golden cases, the pairs that llama.cpp tests with, rare features, hostile files.
#include "models/text/sentencepiece.h"

#include <gtest/gtest.h>

#include <bit>
#include <sstream>

#include "models/text/gguf_tokenizer.h"
#include "tests/models/text/golden.h"

namespace chalk {
namespace {

std::string model_path() {
  return data_folder() + "/tokenizers/llama2/tokenizer.model";
}

const SentencePiece& llama2() {
  static const auto tokenizer = load_sentencepiece(model_path());
  return *tokenizer;
}

TEST(SentencePiece, GoldenLlama2) {
  SKIP_WITHOUT(model_path());
  SKIP_WITHOUT(golden_folder() + "/tokenizers/llama2.json");
  const nlohmann::json golden = golden_tokenizer_cases("llama2.json");
  expect_golden_cases(llama2(), golden["cases"]);
  for (const auto& test : golden["decode_cases"]) {
    EXPECT_EQ(llama2().decode(test["ids"]), test["decoded"].get<std::string>()) << test["ids"];
    for (size_t i = 0; i < test["ids"].size(); i++) {
      EXPECT_EQ(llama2().parts().pieces[test["ids"][i].get<int32_t>()].text,
                test["pieces"][i].get<std::string>());
    }
  }
}

TEST(SentencePiece, Llama2Roles) {
  SKIP_WITHOUT(model_path());
  EXPECT_EQ(llama2().vocab_size(), 32000);
  EXPECT_EQ(llama2().bos, 1);
  EXPECT_EQ(llama2().eos, 2);
  EXPECT_FALSE(llama2().pad);
  EXPECT_TRUE(llama2().add_bos);
  EXPECT_EQ(encode_with_specials(llama2(), "<s>Hello world</s>"), (std::vector<int32_t>{1, 15043, 3186, 2}));
  EXPECT_NE(llama2().encode("<s>"), (std::vector<int32_t>{1}));
  EXPECT_EQ(llama2().token(3186), " world");
  EXPECT_EQ(llama2().token(13), "\n");
  EXPECT_THROW(llama2().encode("\xFF"), UsageError);
  EXPECT_THROW(llama2().decode({32000}), UsageError);
  EXPECT_THROW(llama2().decode({-1}), UsageError);
}

TEST(SentencePiece, RoundTripsWholeFiles) {
  SKIP_WITHOUT(model_path());
  for (const char* name : {"/text/tinyshakespeare.txt", "/text/wikitext-2/valid.txt"}) {
    SKIP_WITHOUT(data_folder() + name);
    const std::string text = read_text(data_folder() + name);
    EXPECT_EQ(llama2().decode(llama2().encode(text)), text) << name;
  }
}

// llama.cpp's own test pairs, with the tokenizer built from arrays as a GGUF file holds them.
TEST(SentencePiece, LlamaCppPairs) {
  const std::string pairs = data_folder() + "/gguf/ggml-vocab-llama-spm.gguf";
  SKIP_WITHOUT(model_path());
  SKIP_WITHOUT(pairs + ".inp");
  GgufTokenizerData data;
  data.model = "llama";
  for (const Piece& piece : llama2().parts().pieces) {
    data.tokens.push_back(piece.text);
    data.scores.push_back(piece.score);
    data.token_types.push_back(int32_t(piece.type));
  }
  data.bos_token_id = 1;
  const auto tokenizer = make_gguf_tokenizer(data, "memory");
  EXPECT_EQ(tokenizer->bos, 1);
  EXPECT_TRUE(tokenizer->add_bos);
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::string inputs = read_text(pairs + ".inp");
  std::istringstream outputs(read_text(pairs + ".out"));
  int count = 0;
  for (std::string line; std::getline(outputs, line); count++) {
    const size_t end = std::min(inputs.find(separator), inputs.size());
    const std::string text = inputs.substr(0, end);
    inputs.erase(0, end + separator.size());
    std::istringstream numbers(line);
    std::vector<int32_t> expected;
    for (int32_t id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer->encode(text), expected) << text;
  }
  EXPECT_GT(count, 40);
}

// ---- small models ----

SentencePieceParts small_model(const std::vector<std::pair<std::string, float>>& pieces) {
  SentencePieceParts parts;
  parts.byte_fallback = false;
  parts.unk = 0;
  parts.pieces = {{"<unk>", 0, PieceType::Unknown}};
  for (const auto& [text, score] : pieces) parts.pieces.push_back({text, score});
  return parts;
}

TEST(SentencePiece, BestScoreFirstThenLeftmost) {
  EXPECT_EQ(SentencePiece(small_model({{"▁", 0}, {"a", 0}, {"b", 0}, {"c", 0}, {"ab", -1}, {"bc", -2}}))
                .encode("abc"),
            (std::vector<int32_t>{1, 5, 4}));
  EXPECT_EQ(SentencePiece(small_model({{"▁", 0}, {"a", 0}, {"b", 0}, {"c", 0}, {"ab", -2}, {"bc", -1}}))
                .encode("abc"),
            (std::vector<int32_t>{1, 2, 6}));
  EXPECT_EQ(SentencePiece(small_model({{"▁", 0}, {"a", 0}, {"aa", -1}})).encode("aaa"),
            (std::vector<int32_t>{1, 3, 2}));
}

TEST(SentencePiece, UnknownCharactersAndMergesOfCharactersThatAreNoPieces) {
  const SentencePiece model(small_model({{"▁", 0}, {"a", 0}, {"ab", -1}}));
  EXPECT_EQ(model.encode("ab"), (std::vector<int32_t>{1, 3}));         // b is no piece, but ab is
  EXPECT_EQ(model.encode("axyzbb"), (std::vector<int32_t>{1, 2, 0}));  // neighbours share one <unk>
  EXPECT_EQ(model.decode({1, 2, 0, 2}), "a \u2047 a");
  SentencePieceParts no_unk = small_model({{"▁", 0}});
  no_unk.pieces[0].type = PieceType::Control;
  no_unk.unk = -1;
  EXPECT_THROW(SentencePiece(no_unk).encode("é"), UsageError);
}

TEST(SentencePiece, UserDefinedPiecesAreFrozenAndUnusedOnesTakenApart) {
  SentencePieceParts parts =
      small_model({{"▁", 0}, {"a", 0}, {"b", 0}, {"c", 0}, {"ab", -1}, {"abc", -2}, {"ca", -3}});
  parts.pieces[5].type = PieceType::Unused;  // ab
  EXPECT_EQ(SentencePiece(parts).encode("ab"), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(SentencePiece(parts).encode("abc"), (std::vector<int32_t>{1, 6}));
  parts.pieces[7].type = PieceType::UserDefined;  // ca
  EXPECT_EQ(SentencePiece(parts).encode("abcab"), (std::vector<int32_t>{1, 2, 3, 7, 3}));
}

TEST(SentencePiece, PiecesWithSpacesInside) {
  // "a▁b" crosses a word boundary: words may not be merged one by one.
  const SentencePiece model(small_model({{"▁", 0}, {"a", 0}, {"b", 0}, {"▁b", -1}, {"a▁b", -2}}));
  EXPECT_EQ(model.encode("a b"), (std::vector<int32_t>{1, 5}));
}

TEST(SentencePiece, WhitespaceFlags) {
  SentencePieceParts parts = small_model({{"▁", 0}, {"a", 0}});
  parts.remove_extra_whitespaces = true;
  EXPECT_EQ(SentencePiece(parts).encode("  a   a "), (std::vector<int32_t>{1, 2, 1, 2}));
  EXPECT_EQ(SentencePiece(parts).encode("   "), (std::vector<int32_t>{}));
  parts.remove_extra_whitespaces = false;
  parts.add_dummy_prefix = false;
  EXPECT_EQ(SentencePiece(parts).encode("a a"), (std::vector<int32_t>{2, 1, 2}));
  EXPECT_EQ(SentencePiece(parts).decode({1, 2}), " a");
  parts.add_dummy_prefix = parts.only_missing_prefix = true;
  EXPECT_EQ(SentencePiece(parts).encode("a"), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(SentencePiece(parts).encode(" a"), (std::vector<int32_t>{1, 2}));
}

// ---- hostile files ----

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += char(value | 128);
  return bytes + char(value);
}
std::string message(int number, const std::string& body) {
  return varint(number << 3 | 2) + varint(body.size()) + body;
}
std::string integer(int number, uint64_t value) {
  return varint(number << 3) + varint(value);
}
std::string piece(const std::string& text, int type = 1) {
  return message(1, message(1, text) + std::string("\x15\0\0\0\0", 5) + integer(3, type));
}

TEST(SentencePiece, HostileFiles) {
  const auto error = [](const std::string& bytes) {
    return file_error([&] { parse_sentencepiece(bytes, "t.model"); });
  };
  const std::string bpe = message(2, integer(3, 2)),
                    good = piece("<unk>", 2) + piece("▁") + piece("a") + bpe + message(3, integer(4, 0));
  EXPECT_EQ(parse_sentencepiece(good, "")->encode("a"), (std::vector<int32_t>{1, 2}));
  EXPECT_TEXT_IN("no pieces", error(""));
  EXPECT_TEXT_IN("list of ranks", error("IQ== 0\nIg== 1\n"));
  EXPECT_TEXT_IN("no pieces", error(bpe));
  EXPECT_TEXT_IN("no trainer_spec", error(piece("a")));
  EXPECT_TEXT_IN("unigram", error(piece("a") + message(2, integer(3, 1))));
  EXPECT_TEXT_IN("unigram", error(piece("a") + message(2, "")));
  EXPECT_TEXT_IN("word", error(piece("a") + message(2, integer(3, 3))));
  EXPECT_TEXT_IN("strange", error(piece("a") + message(2, integer(3, ~0ull))));
  EXPECT_TEXT_IN("character map", error(good + message(3, message(2, "x"))));
  EXPECT_TEXT_IN("also piece 2", error(good + piece("a")));
  EXPECT_TEXT_IN("type 9", error(good + piece("b", 9)));
  EXPECT_TEXT_IN("<0x00>", error(good + piece("b", 6)));
  EXPECT_TEXT_IN("is missing", error(good + message(2, integer(3, 2) + integer(35, 1))));
  EXPECT_TEXT_IN("not UTF-8", error(good + piece("\xFF")));
  EXPECT_TEXT_IN("expected 1 to", error(good + piece("")));
  EXPECT_TEXT_IN("expected 1 to", error(good + piece(std::string(100000, 'x'))));
  EXPECT_TEXT_IN("truncated", error(varint(1 << 3 | 2) + varint(~0ull) + "x"));  // a length of 2^64 - 1
  EXPECT_TEXT_IN("more than 10 bytes", error(std::string(20, '\xFF')));
  EXPECT_TEXT_IN("field number 0", error(std::string(4, '\0')));
  EXPECT_TEXT_IN("wire type", error(varint(1 << 3 | 3)));
  EXPECT_TEXT_IN("expected bytes", error(integer(1, 5)));
  EXPECT_TEXT_IN("finite", error(message(1, message(1, "a") + std::string("\x15\0\0\xC0\x7F", 5)) + bpe));
  for (size_t length = 0; length < good.size();
       length++) {  // every prefix: an error or a smaller model, never a crash
    try {
      parse_sentencepiece(good.substr(0, length), "t.model");
    } catch (const FileError&) {
    }
  }
}

TEST(GgufTokenizer, BadArrays) {
  const auto error = [](const GgufTokenizerData& data) {
    return file_error([&] { make_gguf_tokenizer(data, "m.gguf"); });
  };
  GgufTokenizerData data;
  data.model = "gpt2";
  data.tokens = {"a", "b", "ab", "<|endoftext|>"};
  data.token_types = {1, 1, 1, 3};
  data.merges = {"a b"};
  data.bos_token_id = 3;
  const auto tokenizer = make_gguf_tokenizer(data, "m.gguf");
  EXPECT_EQ(tokenizer->encode("abb"), (std::vector<int32_t>{2, 1}));
  EXPECT_EQ(encode_with_specials(*tokenizer, "a<|endoftext|>"), (std::vector<int32_t>{0, 3}));
  EXPECT_EQ(tokenizer->bos, 3);
  EXPECT_FALSE(tokenizer->add_bos);
  const auto with = [&](auto change) {
    GgufTokenizerData changed = data;
    change(changed);
    return changed;
  };
  EXPECT_TEXT_IN("model", error(with([](auto& d) { d.model = "bert"; })));
  EXPECT_TEXT_IN("pre", error(with([](auto& d) { d.pre = "strange"; })));
  EXPECT_TEXT_IN("tokens", error(with([](auto& d) { d.tokens = {}; })));
  EXPECT_TEXT_IN("token_type", error(with([](auto& d) { d.token_types.pop_back(); })));
  EXPECT_TEXT_IN("token_type", error(with([](auto& d) { d.token_types[0] = 99; })));
  EXPECT_TEXT_IN("merges[0]", error(with([](auto& d) { d.merges = {"a x"}; })));
  EXPECT_TEXT_IN("bos_token_id", error(with([](auto& d) { d.bos_token_id = 4; })));
  EXPECT_TEXT_IN("scores", error(with([](auto& d) { d.model = "llama"; })));
}

}  // namespace
}  // namespace chalk
