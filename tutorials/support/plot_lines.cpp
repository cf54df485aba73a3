// Line plots and histograms.
#include <algorithm>
#include <cmath>

#include "tutorials/support/plot_axes.h"

namespace chalk {
namespace {

struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(double value, bool log) {
    if (!std::isfinite(value) || (log && value <= 0)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

struct Frame {
  Canvas& canvas;
  const Style& style;
  Mapping x, y;  // y.from is the bottom edge, y.to the top one
};

void find_ranges(const LinePlot& plot, Range& x, Range& y) {
  for (const Series& s : plot.series) {
    for (double value : s.x) x.add(value, plot.x.log);
    for (double value : s.y) y.add(value, plot.y.log);
    for (double value : s.low) y.add(value, plot.y.log);
    for (double value : s.high) y.add(value, plot.y.log);
    if (s.fill && !plot.y.log) y.add(0, false);
  }
  for (const ReferenceLine& line : plot.lines) y.add(line.at, plot.y.log);
}

void draw_axes(const Frame& f, const LinePlot& plot, const std::vector<Tick>& x_ticks,
               const std::vector<Tick>& y_ticks) {
  for (const Tick& tick : y_ticks) {
    const float y = f.y(tick.value);
    f.canvas.line({{f.x.from, y}, {f.x.to, y}}, 1, f.style.grid);
    f.canvas.text({f.x.from - 9, y + 4.5f}, tick.label, kTextSize, f.style.muted, Anchor::Right);
  }
  f.canvas.line({{f.x.from, f.y.from}, {f.x.to, f.y.from}}, 1.2f, f.style.axis);
  for (const Tick& tick : x_ticks) {
    const float x = f.x(tick.value);
    f.canvas.line({{x, f.y.from}, {x, f.y.from + 5}}, 1.2f, f.style.axis);
    f.canvas.text({x, f.y.from + 20}, tick.label, kTextSize, f.style.muted, Anchor::Centre);
  }
  // The y label stands above its axis, not beside it: nobody should have to turn their head.
  f.canvas.text({kMargin, f.y.to - 13}, plot.y.label, kTextSize, f.style.muted);
  f.canvas.text({f.x.to, f.y.from + 40}, plot.x.label, kTextSize, f.style.muted, Anchor::Right);
}

// The parts of a series between its gaps, as points on the canvas.
std::vector<std::vector<Point>> pieces_of(const Frame& f, const Series& s, const std::vector<double>& y) {
  std::vector<std::vector<Point>> pieces(1);
  for (size_t i = 0; i < std::min(s.x.size(), y.size()); i++) {
    if (!f.x.shows(s.x[i]) || !f.y.shows(y[i])) {
      if (!pieces.back().empty()) pieces.emplace_back();
      continue;
    }
    const Point p = {f.x(s.x[i]), f.y(y[i])};
    if (s.steps && !pieces.back().empty()) pieces.back().push_back({p.x, pieces.back().back().y});
    pieces.back().push_back(p);
  }
  return pieces;
}

void draw_error_bars(const Frame& f, const Series& s, Colour colour) {
  for (size_t i = 0; i < std::min({s.x.size(), s.low.size(), s.high.size()}); i++) {
    if (!f.x.shows(s.x[i]) || !f.y.shows(s.low[i]) || !f.y.shows(s.high[i])) continue;
    const float x = f.x(s.x[i]), low = f.y(s.low[i]), high = f.y(s.high[i]);
    f.canvas.line({{x, low}, {x, high}}, 1.5f, colour);
    for (float y : {low, high}) f.canvas.line({{x - 4, y}, {x + 4, y}}, 1.5f, colour);
  }
}

void draw_series(const Frame& f, const Series& s, Colour colour) {
  if (s.line && !s.low.empty()) {
    const auto low = pieces_of(f, s, s.low), high = pieces_of(f, s, s.high);
    for (size_t i = 0; i < std::min(low.size(), high.size()); i++) {
      if (low[i].size() == high[i].size()) f.canvas.band(low[i], high[i], colour, 0.18f);
    }
  } else if (!s.low.empty()) {
    draw_error_bars(f, s, colour);
  }
  for (const std::vector<Point>& piece : pieces_of(f, s, s.y)) {
    if (s.fill) {
      std::vector<Point> floor = piece;
      for (Point& p : floor) p.y = f.y.from;
      f.canvas.band(floor, piece, colour, 0.25f);
    }
    if (s.line) f.canvas.line(piece, s.faint ? 1.2f : 2.2f, colour, s.faint ? 0.35f : 1, s.dashed ? 6 : 0);
    const bool alone = piece.size() == 1;  // a single point has no line to be seen by
    if (!s.points && !(alone && s.line)) continue;
    for (Point p : piece) {
      f.canvas.disc(p, 5, f.style.background);  // a rim, so that points on a line stay apart
      f.canvas.disc(p, 3.8f, colour);
    }
  }
}

void draw_reference(const Frame& f, const ReferenceLine& line) {
  if (!f.y.shows(line.at)) return;
  const float y = f.y(line.at);
  f.canvas.line({{f.x.from, y}, {f.x.to, y}}, 1.4f, f.style.muted, 1, 4);
  const float width = f.canvas.width_of(line.label, kTextSize);
  const float text_y = y - 6 > f.y.to + 10 ? y - 6 : y + 16;
  f.canvas.rect({f.x.to - width - 4, text_y - 11}, {f.x.to, text_y + 3}, f.style.background, 2, 0.8f);
  f.canvas.text({f.x.to - 2, text_y}, line.label, kTextSize, f.style.muted, Anchor::Right);
}

}  // namespace

std::string render_png(const LinePlot& plot, Theme theme) {
  const Style& style = style_of(theme);
  Canvas canvas(plot.width, plot.height, kScale, style.background);
  auto colour_of = [&](size_t i) { return style.series(plot.series[i].colour.value_or(int(i))); };
  std::vector<LegendEntry> legend;
  for (size_t i = 0; i < plot.series.size(); i++) {
    const Series& s = plot.series[i];
    if (!s.name.empty())
      legend.push_back({s.name, colour_of(i), s.dashed ? LegendEntry::Dashed : LegendEntry::Line});
  }
  if (legend.size() == 1) legend.clear();  // the title says it
  const float top =
      draw_header(canvas, style, plot.title, plot.subtitle, legend) + (plot.y.label.empty() ? 6 : 22);

  Range x, y;
  find_ranges(plot, x, y);
  Frame f{canvas, style, mapping_for(plot.x, x.low, x.high, 0), mapping_for(plot.y, y.low, y.high, 0.05)};
  f.y.from = float(plot.height) - kMargin - (plot.x.label.empty() ? 20 : 40);
  f.y.to = top;
  const std::vector<Tick> y_ticks = ticks_for(f.y, std::max(2, int((f.y.from - f.y.to) / 45)));
  float label_width = 0;
  for (const Tick& tick : y_ticks)
    label_width = std::max(label_width, canvas.width_of(tick.label, kTextSize));
  f.x.from = kMargin + label_width + 9;
  f.x.to = float(plot.width) - kMargin - 6;
  draw_axes(f, plot, ticks_for(f.x, std::max(2, int((f.x.to - f.x.from) / 95))), y_ticks);
  // An axis whose end is fixed may leave data outside; room for the discs on the edges remains.
  canvas.clip({f.x.from - 6, f.y.to - 6}, {f.x.to + 6, f.y.from + 6});
  for (size_t i = 0; i < plot.series.size(); i++) {
    if (plot.series[i].faint) draw_series(f, plot.series[i], colour_of(i));  // behind everything else
  }
  for (const ReferenceLine& line : plot.lines) draw_reference(f, line);
  for (size_t i = 0; i < plot.series.size(); i++) {
    if (!plot.series[i].faint) draw_series(f, plot.series[i], colour_of(i));
  }
  return canvas.png();
}

Series histogram(const std::string& name, const std::vector<double>& values, int bins) {
  Range range;
  for (double v : values) range.add(v, false);
  Series s{.name = name, .x = {}, .y = {}, .steps = true, .fill = true};
  if (!(range.low <= range.high)) return s;
  const double width = std::max((range.high - range.low) / bins, 1e-300);
  s.y.assign(bins + 1, 0.0);  // the last entry closes the last step
  for (int i = 0; i <= bins; i++) s.x.push_back(range.low + i * width);
  for (double v : values) {
    if (std::isfinite(v)) s.y[std::clamp(int((v - range.low) / width), 0, bins - 1)]++;
  }
  s.y[bins] = s.y[bins - 1];
  return s;
}

}  // namespace chalk
