#pragma once
// Pictures of numbers as PNG: line plots, bar charts, heat maps, histograms. Fill a struct, call save_png().
//
//   LinePlot plot{.title = "Training loss", .x = {.label = "step"}, .y = {.label = "nats per token"}};
//   plot.series.push_back({.name = "train", .x = steps, .y = losses});
//   plot.lines.push_back({.at = 1.95, .label = "nanoGPT"});
//   save_png(plot, run.path("plots/loss.png"));
//
// The palette (Okabe & Ito) is told apart by colour-blind readers. A report asks for each picture in both
// themes.
#include <optional>
#include <string>
#include <vector>

namespace chalk {

enum class Theme { Light, Dark };

struct Axis {
  std::string label = {};
  bool log = false;  // values at or below zero are left out
  std::optional<double> min = {}, max = {};
};

// y over x. Where y is NaN, or not positive on a log axis, the line has a gap.
struct Series {
  std::string name;  // empty: no entry in the legend
  std::vector<double> x, y;
  std::vector<double> low = {},
                      high = {};  // when given: a pale band around the line, or error bars on points
  bool line = true;
  bool points = false;
  bool steps = false;  // y[i] holds from x[i] to x[i+1], as in a histogram
  bool fill = false;   // the area down to the bottom of the plot
  bool dashed = false;
  bool faint = false;              // raw data behind its average
  std::optional<int> colour = {};  // index into the palette; by default the series' own index
};

// A labelled level: chance, the paper's number.
struct ReferenceLine {
  double at = 0;
  std::string label;
};

struct LinePlot {
  std::string title;
  std::string subtitle = "";
  Axis x = {}, y = {};
  std::vector<Series> series = {};
  std::vector<ReferenceLine> lines = {};  // horizontal
  int width = 840, height = 480;          // points; the file has twice as many pixels each way
};

struct BarSeries {
  std::string name;
  std::vector<double> values;               // one per category; NaN: not measured
  std::vector<double> low = {}, high = {};  // smallest and largest over the seeds, drawn as an error bar
};

// A mark on each bar: a tick for chance, a diamond for the reference figure.
struct BarMarker {
  std::string name;
  std::vector<double> values;  // one per category; NaN: none
  enum { Tick, Diamond } shape = Tick;
};

// Horizontal bars, so that names stay readable. Several series stand next to each other in every category.
struct BarChart {
  std::string title;
  std::string subtitle = "";
  std::string value_label = "";
  std::vector<std::string> categories = {};
  std::vector<BarSeries> series = {};
  std::vector<BarMarker> markers = {};
  std::optional<double> max = {};
  bool percent = false;  // values are shares of 1, shown as 0..100 %
  int decimals = 2;
  int width = 840;  // the height follows from the number of bars
};

struct HeatMap {
  std::string title;
  std::string subtitle = "";
  std::string x_label = "", y_label = "";
  std::vector<std::string> columns = {}, rows = {};  // names; may be empty
  int num_columns = 0;                               // of `values`
  std::vector<double> values = {};                   // (rows, num_columns), the first row on top; NaN: blank
  bool diverging = false;  // blue-white-red around 0 instead of one scale from low to high
  std::optional<double> min = {}, max = {};
  int width = 840;
};

// Counts of `values` in `bins` equal bins, as a filled step series; values that are not finite are left out.
Series histogram(const std::string& name, const std::vector<double>& values, int bins = 50);

// The bytes of a PNG file.
std::string render_png(const LinePlot& plot, Theme theme = Theme::Light);
std::string render_png(const BarChart& chart, Theme theme = Theme::Light);
std::string render_png(const HeatMap& map, Theme theme = Theme::Light);

// Writes the picture in the light theme; makes the folder if need be. Throws Error (exit 1).
template <class Plot>
void save_png(const Plot& plot, const std::string& path);

void save_bytes(const std::string& path, const std::string& bytes);
template <class Plot>
void save_png(const Plot& plot, const std::string& path) {
  save_bytes(path, render_png(plot, Theme::Light));
}

}  // namespace chalk
