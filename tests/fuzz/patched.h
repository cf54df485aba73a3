#pragma once
// How the fuzzers of checkpoint readers get past the magic number: an input is either a file of its own, or a
// list of changes to a small valid file.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/io/file.h"

namespace chalk {

// Input byte 0 even: the rest is the file. Odd: bytes 1-2 say where `valid` is cut off (beyond its end: not
// at all), then every three bytes are an offset and the new value there.
inline std::vector<uint8_t> patched(const std::vector<uint8_t>& valid, const uint8_t* data, size_t size) {
  if (size == 0) return {};
  if (data[0] % 2 == 0) return {data + 1, data + size};
  std::vector<uint8_t> bytes = valid;
  if (size < 3) return bytes;
  const size_t length = data[1] | data[2] << 8;
  if (length < bytes.size()) bytes.resize(length);
  for (size_t i = 3; i + 2 < size && !bytes.empty(); i += 3)
    bytes[(data[i] | data[i + 1] << 8) % bytes.size()] = data[i + 2];
  return bytes;
}

// The bytes of the file that `write` makes at the path it is given.
inline std::vector<uint8_t> bytes_written_by(const std::function<void(const std::string&)>& write) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("chalk_fuzz_" + std::to_string(::getpid()));
  write(path.string());
  const std::string text = read_text(path.string());
  std::filesystem::remove(path);
  return {text.begin(), text.end()};
}

}  // namespace chalk
