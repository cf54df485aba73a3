// The only file that compiles the stb libraries. Their warnings are theirs, so they are silenced here.
#include "tutorials/support/stb.h"

#include <zlib.h>

#include <cstdlib>

// stb's own deflate uses fixed Huffman codes only; zlib, which is there anyway, makes smaller files.
static unsigned char* deflate_bytes(unsigned char* data, int size, int* packed_size, int quality) {
  uLongf length = compressBound(size);
  auto* packed = static_cast<unsigned char*>(malloc(length));
  if (packed && compress2(packed, &length, data, size, quality) != Z_OK) free(packed), packed = nullptr;
  *packed_size = int(length);
  return packed;  // stb frees it
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wcast-function-type"
#define STB_TRUETYPE_IMPLEMENTATION
#include <stb/stb_truetype.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBIW_ZLIB_COMPRESS deflate_bytes
#include <stb/stb_easy_font.h>
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

namespace chalk {
namespace {

struct Font {
  std::string bytes;  // stb keeps a pointer into them
  stbtt_fontinfo info = {};
  bool ok = false;

  explicit Font(const std::string& file) {
    // stb_truetype does not check bounds: only these system paths are read, never a font of the user's.
    for (const char* folder : {"/usr/share/fonts/truetype/dejavu/", "/usr/share/fonts/dejavu/",
                               "/usr/share/fonts/TTF/", "/usr/share/fonts/dejavu-sans-fonts/"}) {
      std::ifstream in(folder + file, std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(in), {});
      ok = bytes.size() > 1000 && stbtt_InitFont(&info, reinterpret_cast<const uint8_t*>(bytes.data()), 0);
      if (ok) return;
    }
  }
};

const Font& font(bool bold) {
  static const Font regular("DejaVuSans.ttf"), heavy("DejaVuSans-Bold.ttf");
  return bold && heavy.ok ? heavy : regular;
}

// Code points of UTF-8 text; a byte that fits nowhere becomes U+FFFD.
std::vector<int> code_points(const std::string& text) {
  std::vector<int> points;
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = text[i];
    const int length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    int point = length == 1 ? lead : lead & (0x7F >> length);
    bool ok = length > 0 && i + length <= text.size();
    for (int k = 1; ok && k < length; k++) {
      ok = (text[i + k] & 0xC0) == 0x80;
      point = point << 6 | (text[i + k] & 0x3F);
    }
    points.push_back(ok ? point : 0xFFFD);
    i += ok ? length : 1;
  }
  return points;
}

// Where each letter starts, in pixels, with kerning; the last entry is the width of the whole text.
std::vector<float> pen_positions(const std::vector<int>& points, const Font& f, float scale) {
  std::vector<float> x = {0};
  for (size_t i = 0; i < points.size(); i++) {
    int advance, bearing;
    stbtt_GetCodepointHMetrics(&f.info, points[i], &advance, &bearing);
    if (i + 1 < points.size()) advance += stbtt_GetCodepointKernAdvance(&f.info, points[i], points[i + 1]);
    x.push_back(x.back() + advance * scale);
  }
  return x;
}

// Without a font file: stb_easy_font's rectangles, 7 units high, filled.
TextBitmap draw_easy_text(const std::string& text, float size) {
  std::vector<float> quads(text.size() * 300 + 100);
  const float unit = std::max(1.0f, size / 10);
  std::string ascii = text;
  for (char& c : ascii) c = c >= 32 && c < 127 ? c : '?';
  const int count =
      stb_easy_font_print(0, 0, ascii.data(), nullptr, quads.data(), int(quads.size() * sizeof(float)));
  TextBitmap out;
  out.width = int(unit * stb_easy_font_width(ascii.data())) + 2;
  out.height = int(unit * 12);
  out.top = -int(unit * 7);
  out.coverage.assign(size_t(out.width) * out.height, 0);
  for (int q = 0; q < count; q++) {  // four corners of (x, y, z, colour); corners 0 and 2 are opposite
    const float* corner = &quads[q * 16];
    for (int y = int(corner[1] * unit); y < int(corner[9] * unit) && y < out.height; y++) {
      for (int x = int(corner[0] * unit); x < int(corner[8] * unit) && x < out.width; x++) {
        out.coverage[size_t(y) * out.width + x] = 1;
      }
    }
  }
  return out;
}

}  // namespace

bool has_real_font() {
  return font(false).ok;
}

float text_width(const std::string& text, float size, bool bold) {
  const Font& f = font(bold);
  if (!f.ok) {
    std::string copy = text;
    return std::max(1.0f, size / 10) * stb_easy_font_width(copy.data());
  }
  return pen_positions(code_points(text), f, stbtt_ScaleForMappingEmToPixels(&f.info, size)).back();
}

TextBitmap draw_text(const std::string& text, float size, bool bold) {
  const Font& f = font(bold);
  if (!f.ok) return draw_easy_text(text, size);
  const float scale = stbtt_ScaleForMappingEmToPixels(&f.info, size);
  const std::vector<int> points = code_points(text);
  const std::vector<float> x = pen_positions(points, f, scale);

  const int margin = int(size);  // letters may reach a little beyond their pen positions
  TextBitmap out;
  out.left = -margin;
  out.top = -2 * margin;
  out.width = int(std::ceil(x.back())) + 2 * margin;
  out.height = 3 * margin;
  out.coverage.assign(size_t(out.width) * out.height, 0);
  std::vector<uint8_t> letter;
  for (size_t i = 0; i < points.size(); i++) {
    const float shift = x[i] - std::floor(x[i]);  // the part of a pixel, so that spacing stays even
    int x0, y0, x1, y1;
    stbtt_GetCodepointBitmapBoxSubpixel(&f.info, points[i], scale, scale, shift, 0, &x0, &y0, &x1, &y1);
    const int w = x1 - x0, h = y1 - y0;
    if (w <= 0 || h <= 0) continue;  // a space
    letter.assign(size_t(w) * h, 0);
    stbtt_MakeCodepointBitmapSubpixel(&f.info, letter.data(), w, h, w, scale, scale, shift, 0, points[i]);
    for (int row = 0; row < h; row++) {
      for (int col = 0; col < w; col++) {
        const int px = int(std::floor(x[i])) + x0 + col - out.left, py = y0 + row - out.top;
        if (px < 0 || py < 0 || px >= out.width || py >= out.height) continue;
        float& c = out.coverage[size_t(py) * out.width + px];
        c = std::max(c, letter[size_t(row) * w + col] / 255.0f);
      }
    }
  }
  return out;
}

std::string encode_png(const std::vector<uint8_t>& rgb, int width, int height) {
  std::string bytes;
  stbi_write_force_png_filter = 0;  // flat areas pack best as they are
  auto append = [](void* to, void* data, int size) {
    static_cast<std::string*>(to)->append(static_cast<char*>(data), size);
  };
  stbi_write_png_to_func(append, &bytes, width, height, 3, rgb.data(), width * 3);
  return bytes;
}

}  // namespace chalk
