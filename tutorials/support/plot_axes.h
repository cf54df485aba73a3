#pragma once
// What all plots share: colours, the mapping from values to points, sensible ticks, title and legend.
#include <string>
#include <vector>

#include "tutorials/support/canvas.h"
#include "tutorials/support/plot.h"

namespace chalk {

struct Style {
  Colour background, text, muted, grid, axis;
  std::vector<Colour> palette;
  Colour series(int i) const { return palette[size_t(i) % palette.size()]; }
};
const Style& style_of(Theme theme);

inline constexpr float kScale = 2;  // pixels per point
inline constexpr float kMargin = 24, kTitleSize = 17, kTextSize = 12.5f;

// From values to positions between `from` and `to` (points), linear or logarithmic.
struct Mapping {
  double low = 0, high = 1;
  bool log = false;
  float from = 0, to = 1;

  float operator()(double value) const;
  bool shows(double value) const;  // finite, and positive on a log axis
};

// The range of an axis: the data's, rounded outwards by `pad` of its size unless the axis fixes an end.
Mapping mapping_for(const Axis& axis, double data_low, double data_high, double pad);

struct Tick {
  double value = 0;
  std::string label;
};
// About `wanted` ticks at round values (1, 2, 2.5 or 5 times a power of ten; powers of ten on a long log
// axis).
std::vector<Tick> ticks_for(const Mapping& mapping, int wanted);

struct LegendEntry {
  std::string name;
  Colour colour;
  enum { Line, Dashed, Box, Tick, Diamond } shape = Line;
};

// Title, subtitle and a row of legend entries from the top left. Returns the y where the plot may begin.
float draw_header(Canvas& canvas, const Style& style, const std::string& title, const std::string& subtitle,
                  const std::vector<LegendEntry>& legend);
float header_height(const Canvas& measure, const std::string& subtitle,
                    const std::vector<LegendEntry>& legend);

}  // namespace chalk
