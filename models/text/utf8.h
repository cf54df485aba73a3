#pragma once
// UTF-8: walk a string by Unicode code point, and check text at the door. Tokenizers split by code point but
// store bytes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace chalk {

// One code point at the front of `bytes`: its value and how many bytes it takes (1-4).
// Where the bytes are not valid UTF-8 (stray or missing continuation, overlong form, surrogate, above
// U+10FFFF): value -1 and length 1, so that a caller can step over one bad byte. `bytes` must not be empty.
struct CodePoint {
  int32_t value;
  int length;
};
CodePoint next_code_point(std::string_view bytes);

// Appends the UTF-8 form of `code_point` (0 to 0x10FFFF).
void append_utf8(std::string& text, int32_t code_point);

// Byte offset of the first byte that is not UTF-8; text.size() if all is well.
size_t find_invalid_utf8(std::string_view text);

// UsageError naming the first bad byte and its offset, unless text is UTF-8.
void check_utf8(std::string_view text);

// The characters of a valid text, each as its own slice of `text`.
std::vector<std::string_view> split_characters(std::string_view text);

// A word made fit for an error message: quoted, control and invalid bytes as \xHH, cut after 40 bytes.
std::string in_quotes(std::string_view text);

}  // namespace chalk
