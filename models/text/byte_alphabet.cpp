// GPT-2's byte alphabet.
#include "models/text/byte_alphabet.h"

#include "models/text/utf8.h"

namespace chalk {
namespace {

bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr int32_t kFirstLetter = 0x100;  // U+0100 to U+0143 show the 68 bytes that cannot be printed
constexpr int32_t kLetters = 68;

}  // namespace

const std::array<int32_t, 256>& byte_alphabet() {
  static const std::array<int32_t, 256> alphabet = [] {
    std::array<int32_t, 256> table;
    int32_t letter = kFirstLetter;
    for (int byte = 0; byte < 256; byte++) table[byte] = is_printable(byte) ? byte : letter++;
    return table;
  }();
  return alphabet;
}

const std::array<uint8_t, 256>& byte_order() {
  static const std::array<uint8_t, 256> order = [] {
    std::array<uint8_t, 256> bytes;
    int next = 0;
    for (const bool printable : {true, false}) {
      for (int byte = 0; byte < 256; byte++) {
        if (is_printable(byte) == printable) bytes[next++] = uint8_t(byte);
      }
    }
    return bytes;
  }();
  return order;
}

std::string bytes_to_letters(std::string_view bytes) {
  std::string letters;
  for (const char byte : bytes) append_utf8(letters, byte_alphabet()[uint8_t(byte)]);
  return letters;
}

std::optional<std::string> letters_to_bytes(std::string_view letters) {
  const std::array<uint8_t, 256>& order = byte_order();
  std::string bytes;
  for (size_t i = 0; i < letters.size();) {
    const CodePoint c = next_code_point(letters.substr(i, 4));
    if (c.value >= 0 && c.value < 256 && is_printable(c.value)) {
      bytes += char(c.value);
    } else if (c.value >= kFirstLetter && c.value < kFirstLetter + kLetters) {
      bytes += char(order[256 - kLetters + (c.value - kFirstLetter)]);
    } else {
      return std::nullopt;
    }
    i += c.length;
  }
  return bytes;
}

}  // namespace chalk
