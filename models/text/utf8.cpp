// UTF-8 decoding by the table in the Unicode standard (section 3.9, table 3-7).
#include "models/text/utf8.h"

#include "autograd/check.h"

namespace chalk {

CodePoint next_code_point(std::string_view bytes) {
  const auto byte = [&](size_t i) -> uint32_t { return i < bytes.size() ? uint8_t(bytes[i]) : 0; };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {int32_t(lead), 1};
  const int length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  uint32_t value = lead & (0x7F >> length);
  for (int i = 1; i < length; i++) {
    if ((byte(i) & 0xC0) != 0x80) return {-1, 1};
    value = value << 6 | (byte(i) & 0x3F);
  }
  // A lead byte below 0xC2 would be a continuation or an overlong form; the smallest value tells the other
  // overlong forms.
  const uint32_t smallest = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (lead < 0xC2 || lead > 0xF4 || value < smallest || value > 0x10FFFF || surrogate) return {-1, 1};
  return {int32_t(value), length};
}

void append_utf8(std::string& text, int32_t code_point) {
  const uint32_t c = uint32_t(code_point);
  if (c < 0x80) {
    text += char(c);
  } else if (c < 0x800) {
    text += {char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
  } else if (c < 0x10000) {
    text += {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 0x3F)), char(0x80 | (c & 0x3F))};
  } else {
    text += {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 0x3F)), char(0x80 | (c >> 6 & 0x3F)),
             char(0x80 | (c & 0x3F))};
  }
}

size_t find_invalid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (uint8_t(text[i]) < 0x80) {
      i++;
      continue;
    }
    const CodePoint c = next_code_point(text.substr(i, 4));
    if (c.value < 0) return i;
    i += c.length;
  }
  return i;
}

void check_utf8(std::string_view text) {
  const size_t bad = find_invalid_utf8(text);
  if (bad < text.size()) {
    throw UsageError(
        fmt::format("text is not UTF-8: byte 0x{:02x} at offset {}; convert it, e.g. with iconv -t utf-8",
                    uint8_t(text[bad]), bad));
  }
}

std::vector<std::string_view> split_characters(std::string_view text) {
  std::vector<std::string_view> characters;
  for (size_t i = 0; i < text.size(); i += characters.back().size()) {
    characters.push_back(text.substr(i, next_code_point(text.substr(i, 4)).length));
  }
  return characters;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  size_t i = 0;
  while (i < text.size() && i < 40) {
    const CodePoint c = next_code_point(text.substr(i, 4));
    if (c.value < 0x20 || c.value == 0x7F) {
      out += fmt::format("\\x{:02x}", uint8_t(text[i]));
    } else {
      out += text.substr(i, c.length);
    }
    i += c.length;
  }
  return out + (i < text.size() ? "...\"" : "\"");
}

}  // namespace chalk
