// libFuzzer: any bytes as a GGUF model. Only FileError may come out.
#include "autograd/check.h"
#include "models/io/gguf_model.h"
#include "tests/fuzz/patched.h"
#include "tests/models/io/tiny_checkpoints.h"

namespace {

std::vector<uint8_t> valid_file() {
  chalk::GgufMetadata tokenizer;
  tokenizer.set("tokenizer.ggml.model", chalk::GgufValue::text("llama"));
  tokenizer.set("tokenizer.ggml.tokens", chalk::GgufValue::texts({"<unk>", "<s>", "</s>", "a"}));
  tokenizer.set("tokenizer.ggml.scores", chalk::GgufValue::f32s({0, 0, 0, -1}));
  tokenizer.set("tokenizer.ggml.token_type", chalk::GgufValue::i32s({2, 3, 3, 1}));
  tokenizer.set("tokenizer.ggml.add_bos_token", chalk::GgufValue::boolean(true));
  return chalk::bytes_written_by([&](const std::string& path) {
    chalk::write_gguf_model(path, chalk::tiny_llama(true), chalk::GgmlType::Q4_0, tokenizer);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> valid = valid_file();
  const std::vector<uint8_t> bytes = chalk::patched(valid, data, size);
  try {
    const chalk::Gguf gguf = chalk::parse_gguf(bytes, "fuzz");
    chalk::gguf_to_checkpoint(gguf);
  } catch (const chalk::FileError&) {
  }
  return 0;
}
