#pragma once
// Walks through the bytes of a binary file; every step checks that the bytes are there.
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "autograd/check.h"

namespace chalk {

struct ByteReader {
  std::span<const uint8_t> bytes;
  std::string path;     // only for messages
  size_t position = 0;  // of the next byte

  size_t remaining() const { return bytes.size() - position; }

  // The next `count` bytes; `field` names them in the FileError thrown when the file ends before.
  std::span<const uint8_t> take(uint64_t count, const std::string& field) {
    if (count > remaining())
      throw FileError(path, field,
                      fmt::format("needs {} bytes at offset {}, but the file has only {} more", count,
                                  position, remaining()));
    const std::span<const uint8_t> taken = bytes.subspan(position, count);
    position += count;
    return taken;
  }

  // The next little-endian number; it may lie at any alignment.
  template <class T>
  T number(const std::string& field) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), field).data(), sizeof(T));
    return value;
  }
};

}  // namespace chalk
