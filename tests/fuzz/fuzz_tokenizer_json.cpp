// Fuzzes the reader of tokenizer.json: any bytes give a tokenizer or a FileError. A tokenizer that was
// accepted must also encode, and decode what it encoded; UsageError is a proper answer to text that it cannot
// express.
#include <cstdint>

#include "autograd/check.h"
#include "models/text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::unique_ptr<chalk::Tokenizer> tokenizer;
  try {
    tokenizer = chalk::parse_tokenizer_json(bytes, "fuzz");
  } catch (const chalk::FileError&) {
    return 0;
  }
  for (const std::string_view text : {std::string_view("Hello, wörld 123\n <s>"), bytes.substr(0, 200)}) {
    try {
      tokenizer->decode(tokenizer->encode(text));
    } catch (
        const chalk::Error&) {  // not UTF-8, unknown characters, or a pattern that backtracks without end
    }
  }
  return 0;
}
