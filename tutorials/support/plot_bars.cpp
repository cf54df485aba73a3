// Horizontal bar charts with error bars, and marks for chance and reference figures.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tutorials/support/plot_axes.h"

namespace chalk {
namespace {

constexpr float kGroupGap = 14, kBarGap = 3;

double at(const std::vector<double>& values, size_t i) {
  return i < values.size() ? values[i] : NAN;
}

std::string value_text(const BarChart& chart, double value) {
  if (chart.percent) return fmt::format("{:.{}f} %", value * 100, value >= 0.9995 || value == 0 ? 0 : 1);
  return fmt::format("{:.{}f}", value, chart.decimals);
}

std::vector<LegendEntry> legend_of(const BarChart& chart, const Style& style) {
  std::vector<LegendEntry> legend;
  for (size_t s = 0; s < chart.series.size(); s++) {
    const bool alone = chart.series.size() == 1 && chart.markers.empty();
    if (!chart.series[s].name.empty() && !alone)
      legend.push_back({chart.series[s].name, style.series(int(s)), LegendEntry::Box});
  }
  for (const BarMarker& m : chart.markers) {
    const bool tick = m.shape == BarMarker::Tick;
    legend.push_back(
        {m.name, tick ? style.muted : style.text, tick ? LegendEntry::Tick : LegendEntry::Diamond});
  }
  return legend;
}

Mapping value_mapping(const BarChart& chart) {
  double low = 0, high = 0;
  auto add = [&](double v) {
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  };
  for (const BarSeries& s : chart.series) {
    for (const auto* values : {&s.values, &s.low, &s.high})
      std::for_each(values->begin(), values->end(), add);
  }
  for (const BarMarker& m : chart.markers) std::for_each(m.values.begin(), m.values.end(), add);
  Mapping m = mapping_for({.label = "", .max = chart.max}, low, high, 0.03);
  if (low == 0) m.low = 0;
  return m;
}

struct Frame {
  Canvas& canvas;
  const Style& style;
  const BarChart& chart;
  Mapping x;
  float bar;  // height of one
};

void draw_markers(const Frame& f, size_t category, float top, float bottom) {
  for (const BarMarker& m : f.chart.markers) {
    const double value = at(m.values, category);
    if (!std::isfinite(value)) continue;
    const float x = f.x(value), middle = (top + bottom) / 2;
    if (m.shape == BarMarker::Tick) {
      f.canvas.line({{x, top - 2}, {x, bottom + 2}}, 4, f.style.background);
      f.canvas.line({{x, top - 3}, {x, bottom + 3}}, 2, f.style.muted);
    } else {
      f.canvas.diamond({x, middle}, 8.5f, f.style.background);
      f.canvas.diamond({x, middle}, 6.5f, f.style.text);
    }
  }
}

// A number stands at its bar's end, unless marks or error bars could be in its way: then all stand in a
// column.
bool numbers_in_column(const BarChart& chart) {
  bool errors = false;
  for (const BarSeries& s : chart.series) errors = errors || !s.high.empty();
  return errors || !chart.markers.empty();
}

void draw_bar(const Frame& f, size_t series, size_t category, float top) {
  const BarSeries& s = f.chart.series[series];
  const double value = at(s.values, category);
  const float bottom = top + f.bar, middle = (top + bottom) / 2;
  if (!std::isfinite(value)) {
    f.canvas.text({f.x(0) + 7, middle + 4.5f}, "not measured", kTextSize, f.style.muted);
    return;
  }
  f.canvas.rect({f.x(0), top}, {f.x(value), bottom}, f.style.series(int(series)), 3);
  const double low = at(s.low, category), high = at(s.high, category);
  if (std::isfinite(low) && std::isfinite(high) && high > low) {
    f.canvas.line({{f.x(low), middle}, {f.x(high), middle}}, 1.6f, f.style.text);
    for (double end : {low, high})
      f.canvas.line({{f.x(end), middle - 4}, {f.x(end), middle + 4}}, 1.6f, f.style.text);
  }
}

void draw_value(const Frame& f, size_t series, size_t category, float top) {
  const double value = at(f.chart.series[series].values, category);
  if (!std::isfinite(value)) return;
  const bool column = numbers_in_column(f.chart);
  const Point where = {column ? float(f.chart.width) - kMargin : f.x(std::max(value, f.x.low)) + 7,
                       top + f.bar / 2 + 4.5f};
  f.canvas.text(where, value_text(f.chart, value), kTextSize, f.style.text,
                column ? Anchor::Right : Anchor::Left);
}

}  // namespace

std::string render_png(const BarChart& chart, Theme theme) {
  const Style& style = style_of(theme);
  const size_t per_group = std::max<size_t>(1, chart.series.size());
  const float bar = per_group == 1 ? 20 : per_group == 2 ? 16 : 13;
  const float group = float(per_group) * (bar + kBarGap) - kBarGap;
  const std::vector<LegendEntry> legend = legend_of(chart, style);
  const Canvas measure(chart.width, 10, kScale, style.background);
  const float top = header_height(measure, chart.subtitle, legend) + 6;
  const float rows = float(chart.categories.size()) * (group + kGroupGap);
  const float height = top + rows + (chart.value_label.empty() ? 20 : 40) + kMargin;

  Canvas canvas(chart.width, int(std::ceil(height)), kScale, style.background);
  draw_header(canvas, style, chart.title, chart.subtitle, legend);
  Frame f{canvas, style, chart, value_mapping(chart), bar};
  float names = 0, numbers = 0;
  for (const std::string& name : chart.categories)
    names = std::max(names, canvas.width_of(name, kTextSize + 0.5f));
  for (const BarSeries& s : chart.series) {
    for (double v : s.values) {
      if (std::isfinite(v)) numbers = std::max(numbers, canvas.width_of(value_text(chart, v), kTextSize));
    }
  }
  f.x.from = kMargin + names + 12;
  f.x.to = float(chart.width) - kMargin - numbers - 16;
  const float bottom = top + rows;
  for (const Tick& tick : ticks_for(f.x, std::max(2, int((f.x.to - f.x.from) / 95)))) {
    const float x = f.x(tick.value);
    canvas.line({{x, top}, {x, bottom}}, 1, style.grid);
    const std::string label =
        chart.percent ? fmt::format("{:g} %", std::round(tick.value * 1e6) / 1e4 + 0.0) : tick.label;
    canvas.text({x, bottom + 18}, label, kTextSize, style.muted, Anchor::Centre);
  }
  canvas.text({f.x.to, bottom + 38}, chart.value_label, kTextSize, style.muted, Anchor::Right);
  for (size_t c = 0; c < chart.categories.size(); c++) {
    const float y = top + float(c) * (group + kGroupGap) + kGroupGap / 2;
    canvas.text({f.x.from - 12, y + group / 2 + 4.5f}, chart.categories[c], kTextSize + 0.5f, style.text,
                Anchor::Right);
    for (size_t s = 0; s < chart.series.size(); s++) draw_bar(f, s, c, y + float(s) * (bar + kBarGap));
    draw_markers(f, c, y, y + group);
    for (size_t s = 0; s < chart.series.size(); s++) draw_value(f, s, c, y + float(s) * (bar + kBarGap));
  }
  canvas.line({{f.x(0), top}, {f.x(0), bottom}}, 1.2f, style.axis);
  return canvas.png();
}

}  // namespace chalk
