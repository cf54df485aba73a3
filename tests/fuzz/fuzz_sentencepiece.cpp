// Fuzzes the reader of SentencePiece models: any bytes give a tokenizer or a FileError, and the tokenizer
// encodes and decodes.
#include <cstdint>

#include "autograd/check.h"
#include "models/text/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::unique_ptr<chalk::SentencePiece> tokenizer;
  try {
    tokenizer = chalk::parse_sentencepiece(bytes, "fuzz");
  } catch (const chalk::FileError&) {
    return 0;
  }
  for (const std::string_view text : {std::string_view("Hello, wörld 123\n <s>"), bytes.substr(0, 200)}) {
    try {
      tokenizer->decode(tokenizer->encode(text));
    } catch (const chalk::UsageError&) {  // not UTF-8, or unknown characters without <unk>
    }
  }
  return 0;
}
