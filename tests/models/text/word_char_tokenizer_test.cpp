// Word and character tokenizers.
#include <gtest/gtest.h>

#include "models/text/char_tokenizer.h"
#include "models/text/word_tokenizer.h"
#include "tests/models/text/golden.h"

namespace chalk {
namespace {

template <class Action>
std::string usage_error(Action action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  ADD_FAILURE() << "accepted what it should refuse";
  return "";
}

TEST(WordTokenizer, WordsSpecialsAndErrors) {
  const auto words = build_word_tokenizer("the cat sat\non the mat", {"<pad>", "<bos>", "<eos>"});
  EXPECT_EQ(words->vocab_size(), 3 + 5);
  EXPECT_EQ(words->words(),
            (std::vector<std::string>{"<pad>", "<bos>", "<eos>", "cat", "mat", "on", "sat", "the"}));
  EXPECT_EQ(words->encode("<bos> the  cat "), (std::vector<int32_t>{1, 7, 3}));
  EXPECT_EQ(encode_with_specials(*words, "<bos>the cat<eos>"), (std::vector<int32_t>{1, 7, 3, 2}));
  EXPECT_EQ(words->decode({1, 7, 3}), "<bos> the cat");
  EXPECT_EQ(words->bos, 1);
  EXPECT_EQ(words->pad, 0);
  EXPECT_TRUE(words->add_bos);
  EXPECT_TRUE(words->encode("").empty());
  EXPECT_TEXT_IN("\"dog\"", usage_error([&] { words->encode("the dog"); }));
  EXPECT_THROW(words->encode("\xFF"), UsageError);
  EXPECT_THROW(words->decode({8}), UsageError);
  EXPECT_EQ(WordTokenizer({"a", "<unk>"}, {}, 1).encode("a b"), (std::vector<int32_t>{0, 1}));
}

TEST(WordTokenizer, BadLists) {
  EXPECT_TEXT_IN("also word 0", file_error([] { WordTokenizer({"a", "a"}); }));
  EXPECT_TEXT_IN("not one word", file_error([] { WordTokenizer({"a b"}); }));
  EXPECT_TEXT_IN("not one word", file_error([] { WordTokenizer({""}); }));
  EXPECT_TEXT_IN("is not word 1", file_error([] { WordTokenizer({"a", "b"}, {{"a", 1}}); }));
}

TEST(CharTokenizer, CodePointsAndErrors) {
  const auto characters = build_char_tokenizer("héhe😀\n");
  EXPECT_EQ(characters->characters(), (std::vector<std::string>{"\n", "e", "h", "é", "😀"}));
  EXPECT_EQ(characters->encode("h😀é"), (std::vector<int32_t>{2, 4, 3}));
  EXPECT_EQ(characters->decode({2, 4, 3}), "h😀é");
  EXPECT_TEXT_IN("U+0078", usage_error([&] { characters->encode("x"); }));
  EXPECT_THROW(characters->encode("\xF0\x9F"), UsageError);
  EXPECT_THROW(characters->decode({5}), UsageError);
  EXPECT_FALSE(characters->bos);
}

TEST(CharTokenizer, ReadsAVocabulary) {
  const std::string path = data_folder() + "/models/slm4096/vocab.json",
                    corpus = data_folder() + "/models/slm4096/corpus.txt";
  SKIP_WITHOUT(path);
  const auto tokenizer = load_tokenizer(path);
  EXPECT_EQ(tokenizer->vocab_size(), 54);
  EXPECT_EQ(tokenizer->encode("az\n"), (std::vector<int32_t>{28, 53, 0}));
  const std::string text = read_text(corpus);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

TEST(CharTokenizer, BadVocabularies) {
  EXPECT_TEXT_IN("not one character", file_error([] { parse_char_vocabulary(R"({"ab": 0})", "v"); }));
  EXPECT_TEXT_IN("not one character", file_error([] { parse_char_vocabulary(R"({"": 0})", "v"); }));
  EXPECT_TEXT_IN("expected 0 to 0", file_error([] { parse_char_vocabulary(R"({"a": 7})", "v"); }));
  EXPECT_TEXT_IN("appears twice", file_error([] { parse_char_vocabulary(R"({"a": 0, "a": 1})", "v"); }));
}

}  // namespace
}  // namespace chalk
