#pragma once
// A small painter with soft edges. Every shape is a function that says how far a pixel's centre is from it;
// coverage is that distance turned into 0..1 over one pixel, which is all that anti-aliasing needs.
#include <cstdint>
#include <string>
#include <vector>

namespace chalk {

struct Colour {
  float r = 0, g = 0, b = 0;  // sRGB, 0..1
};
Colour hex(uint32_t rgb);                     // hex(0x0072B2)
Colour mix(Colour a, Colour b, float share);  // share of b

struct Point {
  float x = 0, y = 0;
};

enum class Anchor { Left, Centre, Right };

// Coordinates are points (y down); one point is `scale` pixels, so a picture stays sharp on a dense screen.
class Canvas {
 public:
  Canvas(int width, int height, float scale, Colour background);

  // From now on only this area is painted by shapes (text is not cut); without arguments: everything again.
  void clip(Point corner, Point opposite);
  void clip() { clip_ = {0, 0, columns_, rows_}; }

  // A line through all points; joints and ends are round. `dash` > 0: that many points on, as many off.
  void line(const std::vector<Point>& points, float width, Colour colour, float alpha = 1, float dash = 0);
  void rect(Point corner, Point opposite, Colour colour, float radius = 0, float alpha = 1);
  void disc(Point centre, float radius, Colour colour);
  void diamond(Point centre, float radius, Colour colour);
  // The area between two curves that share their x; x must not fall.
  void band(const std::vector<Point>& low, const std::vector<Point>& high, Colour colour, float alpha);

  // The text's baseline passes through `at`. Sizes in points.
  void text(Point at, const std::string& text, float size, Colour colour, Anchor anchor = Anchor::Left,
            bool bold = false);
  float width_of(const std::string& text, float size, bool bold = false) const;

  int width() const { return width_; }
  int height() const { return height_; }
  std::string png() const;

 private:
  struct Box {
    int x0, y0, x1, y1;
  };
  Box pixels(float x0, float y0, float x1, float y1) const;  // the pixels that may touch this area, clipped
  void blend(int x, int y, Colour colour, float alpha);
  template <class Distance>
  void fill(Box box, Colour colour, float alpha, const Distance& distance);

  int width_, height_;  // points
  int columns_, rows_;  // pixels
  float scale_;
  Box clip_;
  std::vector<float> rgb_;   // (rows, columns, 3)
  std::vector<float> mask_;  // (rows, columns), all 0 between calls
};

}  // namespace chalk
