// libFuzzer: any bytes as a llama2.c checkpoint. Only FileError may come out.
#include "autograd/check.h"
#include "models/io/llama2c.h"
#include "tests/fuzz/patched.h"
#include "tests/models/io/tiny_checkpoints.h"

namespace {

std::vector<uint8_t> valid_file() {
  return chalk::bytes_written_by(
      [](const std::string& path) { chalk::write_llama2c(path, chalk::tiny_llama()); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> valid = valid_file();
  const std::vector<uint8_t> bytes = chalk::patched(valid, data, size);
  try {
    chalk::parse_llama2c(bytes, "fuzz");
  } catch (const chalk::FileError&) {
  }
  return 0;
}
