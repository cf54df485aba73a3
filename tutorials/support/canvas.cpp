#include "tutorials/support/canvas.h"

#include <algorithm>
#include <cmath>

#include "tutorials/support/stb.h"

namespace chalk {
namespace {

// Distance from p to the segment a-b.
float segment_distance(Point p, Point a, Point b) {
  const float dx = b.x - a.x, dy = b.y - a.y;
  const float length2 = dx * dx + dy * dy;
  const float t =
      length2 > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length2, 0.0f, 1.0f) : 0.0f;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

// Cuts a polyline into dashes of length `dash` with gaps as long.
std::vector<std::vector<Point>> dashes(const std::vector<Point>& points, float dash) {
  std::vector<std::vector<Point>> pieces;
  float walked = 0;  // since the start
  bool was_on = false;
  for (size_t i = 1; i < points.size(); i++) {
    Point from = points[i - 1];
    const Point to = points[i];
    float left = std::hypot(to.x - from.x, to.y - from.y);
    while (left > 1e-4f) {
      const bool on = int(walked / dash) % 2 == 0;
      const float step = std::min(left, std::max(dash - std::fmod(walked, dash), 1e-3f));
      const Point next = {from.x + (to.x - from.x) * step / left, from.y + (to.y - from.y) * step / left};
      if (on && !was_on) pieces.push_back({from});
      if (on) pieces.back().push_back(next);
      was_on = on;
      from = next;
      walked += step;
      left -= step;
    }
  }
  return pieces;
}

}  // namespace

Colour hex(uint32_t rgb) {
  return {(rgb >> 16 & 255) / 255.0f, (rgb >> 8 & 255) / 255.0f, (rgb & 255) / 255.0f};
}

Colour mix(Colour a, Colour b, float share) {
  return {a.r + (b.r - a.r) * share, a.g + (b.g - a.g) * share, a.b + (b.b - a.b) * share};
}

Canvas::Canvas(int width, int height, float scale, Colour background)
    : width_(width),
      height_(height),
      columns_(int(width * scale)),
      rows_(int(height * scale)),
      scale_(scale),
      clip_{0, 0, columns_, rows_} {
  rgb_.resize(size_t(columns_) * rows_ * 3);
  mask_.resize(size_t(columns_) * rows_);
  for (size_t i = 0; i < mask_.size(); i++) {
    rgb_[3 * i] = background.r, rgb_[3 * i + 1] = background.g, rgb_[3 * i + 2] = background.b;
  }
}

void Canvas::clip(Point a, Point b) {
  clip_ = {std::max(0, int(a.x * scale_)), std::max(0, int(a.y * scale_)),
           std::min(columns_, int(b.x * scale_)), std::min(rows_, int(b.y * scale_))};
}

Canvas::Box Canvas::pixels(float x0, float y0, float x1, float y1) const {
  return {std::max(clip_.x0, int(std::floor(x0 * scale_)) - 1),
          std::max(clip_.y0, int(std::floor(y0 * scale_)) - 1),
          std::min(clip_.x1, int(std::ceil(x1 * scale_)) + 2),
          std::min(clip_.y1, int(std::ceil(y1 * scale_)) + 2)};
}

void Canvas::blend(int x, int y, Colour colour, float alpha) {
  float* p = &rgb_[(size_t(y) * columns_ + x) * 3];
  p[0] += (colour.r - p[0]) * alpha;
  p[1] += (colour.g - p[1]) * alpha;
  p[2] += (colour.b - p[2]) * alpha;
}

// distance(point) < 0 inside the shape, in points; the edge is spread over one pixel.
template <class Distance>
void Canvas::fill(Box box, Colour colour, float alpha, const Distance& distance) {
  for (int y = box.y0; y < box.y1; y++) {
    for (int x = box.x0; x < box.x1; x++) {
      const Point p = {(x + 0.5f) / scale_, (y + 0.5f) / scale_};
      const float coverage = std::clamp(0.5f - distance(p) * scale_, 0.0f, 1.0f);
      if (coverage > 0) blend(x, y, colour, coverage * alpha);
    }
  }
}

void Canvas::line(const std::vector<Point>& points, float width, Colour colour, float alpha, float dash) {
  if (points.size() < 2) return;
  if (dash > 0) {
    for (const auto& piece : dashes(points, dash)) line(piece, width, colour, alpha);
    return;
  }
  // All segments go into one mask (the largest coverage wins) before any colour is laid: where two segments
  // of a pale line overlap, it must not become darker.
  Box all = {columns_, rows_, 0, 0};
  for (size_t i = 1; i < points.size(); i++) {
    const Point a = points[i - 1], b = points[i];
    const Box box = pixels(std::min(a.x, b.x) - width, std::min(a.y, b.y) - width, std::max(a.x, b.x) + width,
                           std::max(a.y, b.y) + width);
    for (int y = box.y0; y < box.y1; y++) {
      for (int x = box.x0; x < box.x1; x++) {
        const Point p = {(x + 0.5f) / scale_, (y + 0.5f) / scale_};
        const float inside = (width / 2 - segment_distance(p, a, b)) * scale_;
        float& m = mask_[size_t(y) * columns_ + x];
        m = std::max(m, std::clamp(0.5f + inside, 0.0f, 1.0f));
      }
    }
    all = {std::min(all.x0, box.x0), std::min(all.y0, box.y0), std::max(all.x1, box.x1),
           std::max(all.y1, box.y1)};
  }
  for (int y = all.y0; y < all.y1; y++) {
    for (int x = all.x0; x < all.x1; x++) {
      float& m = mask_[size_t(y) * columns_ + x];
      if (m > 0) blend(x, y, colour, m * alpha);
      m = 0;
    }
  }
}

void Canvas::rect(Point a, Point b, Colour colour, float radius, float alpha) {
  const float x0 = std::min(a.x, b.x), x1 = std::max(a.x, b.x), y0 = std::min(a.y, b.y),
              y1 = std::max(a.y, b.y);
  const float r = std::min({radius, (x1 - x0) / 2, (y1 - y0) / 2});
  fill(pixels(x0, y0, x1, y1), colour, alpha,
       [&](Point p) {  // a rectangle shrunk by r, grown back with round corners
         const float dx = std::max(x0 + r - p.x, p.x - (x1 - r)), dy = std::max(y0 + r - p.y, p.y - (y1 - r));
         return std::hypot(std::max(dx, 0.0f), std::max(dy, 0.0f)) + std::min(std::max(dx, dy), 0.0f) - r;
       });
}

void Canvas::disc(Point c, float radius, Colour colour) {
  fill(pixels(c.x - radius, c.y - radius, c.x + radius, c.y + radius), colour, 1,
       [&](Point p) { return std::hypot(p.x - c.x, p.y - c.y) - radius; });
}

void Canvas::diamond(Point c, float radius, Colour colour) {
  fill(pixels(c.x - radius, c.y - radius, c.x + radius, c.y + radius), colour, 1,
       [&](Point p) { return (std::abs(p.x - c.x) + std::abs(p.y - c.y) - radius) * 0.7071f; });
}

void Canvas::band(const std::vector<Point>& low, const std::vector<Point>& high, Colour colour, float alpha) {
  for (size_t i = 1; i < low.size(); i++) {
    const float x0 = low[i - 1].x, x1 = low[i].x;
    // Column by column; a column belongs to the piece that its centre is in, so that no column is painted
    // twice.
    for (int x = std::max(clip_.x0, int(std::ceil(x0 * scale_ - 0.5f)));
         x < std::min<float>(clip_.x1, x1 * scale_ - 0.5f); x++) {
      const float t = ((x + 0.5f) / scale_ - x0) / (x1 - x0);
      const float ya = low[i - 1].y + t * (low[i].y - low[i - 1].y),
                  yb = high[i - 1].y + t * (high[i].y - high[i - 1].y);
      const float top = std::min(ya, yb) * scale_, bottom = std::max(ya, yb) * scale_;
      for (int y = std::max(clip_.y0, int(top)); y < std::min<float>(clip_.y1, bottom); y++) {
        blend(x, y, colour,
              alpha * std::clamp(std::min(bottom, y + 1.0f) - std::max(top, float(y)), 0.0f, 1.0f));
      }
    }
  }
}

void Canvas::text(Point at, const std::string& text, float size, Colour colour, Anchor anchor, bool bold) {
  const float shift =
      anchor == Anchor::Left ? 0 : width_of(text, size, bold) * (anchor == Anchor::Centre ? 0.5f : 1.0f);
  const TextBitmap bitmap = draw_text(text, size * scale_, bold);
  const int left = int(std::lround((at.x - shift) * scale_)) + bitmap.left;
  const int top = int(std::lround(at.y * scale_)) + bitmap.top;
  for (int row = 0; row < bitmap.height; row++) {
    for (int col = 0; col < bitmap.width; col++) {
      const float c = bitmap.coverage[size_t(row) * bitmap.width + col];
      const int x = left + col, y = top + row;
      if (c > 0 && x >= 0 && y >= 0 && x < columns_ && y < rows_) blend(x, y, colour, c);
    }
  }
}

float Canvas::width_of(const std::string& text, float size, bool bold) const {
  return text_width(text, size * scale_, bold) / scale_;
}

std::string Canvas::png() const {
  std::vector<uint8_t> bytes(rgb_.size());
  for (size_t i = 0; i < rgb_.size(); i++)
    bytes[i] = uint8_t(std::lround(std::clamp(rgb_[i], 0.0f, 1.0f) * 255));
  return encode_png(bytes, columns_, rows_);
}

}  // namespace chalk
