// Heat maps: attention, quantization error per layer, similarity of directions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tutorials/support/plot_axes.h"

namespace chalk {
namespace {

// Colours at equal distances; lightness rises evenly, so that the map also reads in grey.
const std::vector<Colour>& stops(bool diverging) {
  static const std::vector<Colour> sequential = {hex(0x440154), hex(0x414487), hex(0x2A788E),
                                                 hex(0x22A884), hex(0x7AD151), hex(0xFDE725)};
  static const std::vector<Colour> around_zero = {hex(0x2166AC), hex(0x67A9CF), hex(0xD1E5F0), hex(0xF7F7F7),
                                                  hex(0xFDDBC7), hex(0xEF8A62), hex(0xB2182B)};
  return diverging ? around_zero : sequential;
}

Colour colour_at(double share, bool diverging) {
  const std::vector<Colour>& c = stops(diverging);
  const double position = std::clamp(share, 0.0, 1.0) * double(c.size() - 1);
  const size_t i = std::min(size_t(position), c.size() - 2);
  return mix(c[i], c[i + 1], float(position - double(i)));
}

bool is_dark(Colour c) {
  return 0.3f * c.r + 0.59f * c.g + 0.11f * c.b < 0.55f;
}

// Every n-th name only, where all of them would not fit.
size_t every(size_t count, float room, float needed) {
  return std::max<size_t>(1, size_t(std::ceil(float(count) * needed / std::max(room, 1.0f))));
}

void draw_scale(Canvas& canvas, const Style& style, const HeatMap& map, Mapping y, float x) {
  for (float at = y.to; at < y.from; at += 0.5f) {
    canvas.rect({x, at}, {x + 14, at + 1}, colour_at((y.from - at) / (y.from - y.to), map.diverging));
  }
  for (const Tick& tick : ticks_for(y, std::max(2, int((y.from - y.to) / 34)))) {
    canvas.line({{x + 14, y(tick.value)}, {x + 18, y(tick.value)}}, 1, style.axis);
    canvas.text({x + 22, y(tick.value) + 4.5f}, tick.label, kTextSize, style.muted);
  }
}

Mapping value_mapping(const HeatMap& map) {
  double low = INFINITY, high = -INFINITY;
  for (double v : map.values) {
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  }
  Mapping m = mapping_for({.label = "", .min = map.min, .max = map.max}, low, high, 0);
  if (map.diverging) m.high = std::max(std::abs(m.low), std::abs(m.high)), m.low = -m.high;
  return m;
}

}  // namespace

std::string render_png(const HeatMap& map, Theme theme) {
  const Style& style = style_of(theme);
  const int columns = std::max(1, map.num_columns), rows = std::max(1, int(map.values.size()) / columns);
  const Canvas measure(map.width, 10, kScale, style.background);
  float names = 0;
  for (const std::string& name : map.rows) names = std::max(names, measure.width_of(name, kTextSize));
  const float left = kMargin + names + (names > 0 ? 10 : 0), right = float(map.width) - kMargin - 74;
  const float top = header_height(measure, map.subtitle, {}) + (map.y_label.empty() ? 6 : 20);
  const float cell_width = (right - left) / float(columns);
  const float cell_height =
      std::clamp(cell_width, 460.0f / float(rows) < 16 ? 460.0f / float(rows) : 16.0f, 44.0f);
  const float bottom = top + cell_height * float(rows);

  Canvas canvas(map.width,
                int(bottom + kMargin + (map.columns.empty() ? 0 : 20) + (map.x_label.empty() ? 0 : 20)),
                kScale, style.background);
  draw_header(canvas, style, map.title, map.subtitle, {});
  Mapping value = value_mapping(map);
  value.from = 0, value.to = 1;
  const float gap = cell_width > 12 && cell_height > 12 ? 1 : 0;
  const bool numbers = cell_width > 44 && cell_height >= 16 && columns * rows <= 400;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < columns; c++) {
      const double v = map.values.size() > size_t(r * columns + c) ? map.values[r * columns + c] : NAN;
      const float x = left + float(c) * cell_width, y = top + float(r) * cell_height;
      const Colour colour = std::isfinite(v) ? colour_at(value(v), map.diverging) : style.grid;
      canvas.rect({x, y}, {x + cell_width - gap, y + cell_height - gap}, colour, gap * 1.5f);
      if (!numbers || !std::isfinite(v)) continue;
      const Colour ink = is_dark(colour) ? hex(0xFFFFFF) : hex(0x1F2328);
      canvas.text({x + cell_width / 2, y + cell_height / 2 + 4}, fmt::format("{:.3g}", v), 11, ink,
                  Anchor::Centre);
    }
  }
  float widest = 0;
  for (const std::string& name : map.columns) widest = std::max(widest, canvas.width_of(name, kTextSize));
  for (size_t c = 0; c < map.columns.size(); c += every(map.columns.size(), right - left, widest + 8)) {
    const float x = left + (float(c) + 0.5f) * cell_width;
    canvas.text({x, bottom + 18}, map.columns[c], kTextSize, style.muted, Anchor::Centre);
  }
  for (size_t r = 0; r < map.rows.size(); r += every(map.rows.size(), bottom - top, 15)) {
    const float y = top + (float(r) + 0.5f) * cell_height + 4.5f;
    canvas.text({left - 10, y}, map.rows[r], kTextSize, style.muted, Anchor::Right);
  }
  canvas.text({kMargin, top - 11}, map.y_label, kTextSize, style.muted);
  canvas.text({right, bottom + (map.columns.empty() ? 18 : 38)}, map.x_label, kTextSize, style.muted,
              Anchor::Right);
  value.from = bottom, value.to = top;
  draw_scale(canvas, style, map, value, right + 18);
  return canvas.png();
}

}  // namespace chalk
