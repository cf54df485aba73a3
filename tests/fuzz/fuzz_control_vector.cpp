// libFuzzer: any bytes as a control vector, in both formats (the first byte chooses). Only FileError may come out.
#include "autograd/check.h"
#include "models/control_vector.h"
#include "tests/fuzz/patched.h"

namespace {

std::vector<uint8_t> valid_file(const std::string& ending) {
  return chalk::bytes_written_by([&](const std::string& path) {
    chalk::write_control_vector(path + ending, {{{1, {1, 2, 3, 4}}, {2, {5, 6, 7, 8}}}, "llama"});
    std::rename((path + ending).c_str(), path.c_str());
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> gguf = valid_file(".gguf"), safetensors = valid_file(".safetensors");
  const bool first = size > 0 && data[0] & 1;
  const std::vector<uint8_t> bytes =
      chalk::patched(first ? gguf : safetensors, data + (size > 0), size - (size > 0));
  try {
    chalk::parse_control_vector(bytes, first ? "fuzz.gguf" : "fuzz.safetensors");
  } catch (const chalk::FileError&) {
  }
  return 0;
}
