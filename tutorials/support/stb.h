#pragma once
// The two things that plots take from the stb libraries: letters from a font file, and PNG compression.
#include <cstdint>
#include <string>
#include <vector>

namespace chalk {

// Text as coverage: 1 inside a letter, 0 outside, between them on its edge.
struct TextBitmap {
  int width = 0, height = 0;
  int left = 0,
      top = 0;  // where the bitmap's corner sits, seen from the start of the baseline (pixels, y down)
  std::vector<float> coverage;  // (height, width)
};

// `size` is the em size in pixels; text is UTF-8. DejaVu Sans is used where it is installed
// (fonts-dejavu-core), otherwise stb_easy_font's built-in letters, which know ASCII only.
TextBitmap draw_text(const std::string& text, float size, bool bold);
float text_width(const std::string& text, float size, bool bold);
bool has_real_font();

// rgb: (height, width, 3) bytes. Returns the bytes of a PNG file.
std::string encode_png(const std::vector<uint8_t>& rgb, int width, int height);

}  // namespace chalk
