#pragma once
// GPT-2's byte alphabet: 256 printable characters that stand for the 256 byte values, so that a token made of
// raw bytes can be written in a JSON or text file. A space is shown as Ġ (U+0120), a newline as Ċ (U+010A).
// Source: OpenAI gpt-2 encoder, bytes_to_unicode.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chalk {

// The 188 bytes that are printable in Latin-1 stand for themselves; the other 68, in increasing order, are
// U+0100 to U+0143.
// byte_alphabet()[b] is the code point that shows byte b.
const std::array<int32_t, 256>& byte_alphabet();

// The 256 bytes in the order of their GPT-2 ids: first the printable ones ('!' is 0), then the other 68 (0x00
// is 188, space 220).
const std::array<uint8_t, 256>& byte_order();

// Raw bytes -> their letters, as UTF-8: " the" -> "Ġthe".
std::string bytes_to_letters(std::string_view bytes);

// The inverse; nothing if `letters` holds a character outside the alphabet (such as a real space).
std::optional<std::string> letters_to_bytes(std::string_view letters);

}  // namespace chalk
