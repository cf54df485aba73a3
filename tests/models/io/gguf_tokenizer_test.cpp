// The tokenizer inside a GGUF file against llama.cpp's own test vectors.
#include "models/io/gguf_tokenizer.h"

#include <sstream>

#include "models/io/file.h"
#include "models/io/gguf.h"
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

}  // namespace
}  // namespace chalk
