// libFuzzer: any bytes as a safetensors file. Only FileError may come out; what is accepted must be readable.
#include <span>

#include "autograd/check.h"
#include "models/io/safetensors.h"
#include "tests/fuzz/patched.h"

namespace {

std::vector<uint8_t> valid_file() {
  static const std::vector<uint8_t> numbers(48, 1);
  const std::vector<chalk::ArrayView> arrays = {
      {"a", chalk::DType::F32, {2, 3}, std::span(numbers).first(24)},
      {"b", chalk::DType::BF16, {4}, std::span(numbers).first(8)},
      {"c", chalk::DType::I64, {1, 2}, std::span(numbers).first(16)},
      {"d", chalk::DType::F64, {0}, {}}};
  return chalk::bytes_written_by([&](const std::string& path) {
    chalk::write_safetensors(path, arrays, {{"format", "pt"}});
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> valid = valid_file();
  const std::vector<uint8_t> bytes = chalk::patched(valid, data, size);
  try {
    for (const auto& [name, array] : chalk::parse_safetensors(bytes, "fuzz").tensors)
      if (chalk::is_float_dtype(array.dtype))
        chalk::to_floats(array);
      else if (array.dtype == chalk::DType::I64)
        chalk::to_int64s(array);
  } catch (const chalk::FileError&) {
  }
  return 0;
}
