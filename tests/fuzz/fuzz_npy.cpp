// libFuzzer: any bytes as a .npy file. Only FileError may come out.
#include "autograd/check.h"
#include "models/io/npy.h"
#include "tests/fuzz/patched.h"

namespace {

std::vector<uint8_t> valid_file() {
  const std::vector<float> numbers(6, 1.0f);
  return chalk::bytes_written_by([&](const std::string& path) { chalk::write_npy(path, {2, 3}, numbers); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> valid = valid_file();
  const std::vector<uint8_t> bytes = chalk::patched(valid, data, size);
  try {
    chalk::to_floats(chalk::parse_npy(bytes, "fuzz").view());
  } catch (const chalk::FileError&) {
  }
  return 0;
}
