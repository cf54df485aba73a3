// Plots: valid PNG files of the right size, sensible ticks, and no crash on awkward data.
#include "tutorials/support/plot.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "autograd/check.h"
#include "models/io/file.h"
#include "tutorials/support/plot_axes.h"
#include "tutorials/support/stb.h"

namespace chalk {
namespace {

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; i++) value = value << 8 | uint8_t(bytes.at(at + i));
  return value;
}

void expect_png(const std::string& bytes, uint32_t width, uint32_t height) {
  ASSERT_GT(bytes.size(), 57u);
  EXPECT_EQ(bytes.substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(bytes.substr(12, 4), "IHDR");
  EXPECT_EQ(big_endian(bytes, 16), width);
  EXPECT_EQ(big_endian(bytes, 20), height);
  EXPECT_EQ(bytes.substr(bytes.size() - 8, 4), "IEND");
}

std::vector<std::string> labels(Mapping m, int wanted) {
  std::vector<std::string> out;
  for (const Tick& tick : ticks_for(m, wanted)) out.push_back(tick.label);
  return out;
}

using Labels = std::vector<std::string>;

TEST(Plot, APngHasTwicePointsEachWay) {
  LinePlot plot{.title = "loss", .width = 400, .height = 300};
  plot.series.push_back({.name = "a", .x = {0, 1, 2}, .y = {3, 2, 1}});
  expect_png(render_png(plot), 800, 600);
  expect_png(render_png(plot, Theme::Dark), 800, 600);
  EXPECT_NE(render_png(plot), render_png(plot, Theme::Dark));
}

TEST(Plot, TheSameDataGivesTheSameBytes) {
  LinePlot plot{.title = "loss"};
  plot.series.push_back({.name = "a", .x = {0, 1, 2}, .y = {3, 2, 1}, .low = {2, 1, 0}, .high = {4, 3, 2}});
  EXPECT_EQ(render_png(plot), render_png(plot));
}

TEST(Plot, AwkwardDataIsDrawnAnyway) {
  const double nan = std::nan("");
  const std::vector<std::vector<double>> cases = {{},
                                                  {1},
                                                  {nan, nan},
                                                  {0, 0, 0},
                                                  {-1, nan, 1},
                                                  {1e300, 1, 2},
                                                  {1e-300},
                                                  {INFINITY, 1, 2},
                                                  {-1e-9, 1e9, 0}};
  for (const auto& y : cases) {
    std::vector<double> x(y.size());
    for (size_t i = 0; i < x.size(); i++) x[i] = double(i);
    for (bool log : {false, true}) {
      LinePlot plot{.title = "t", .x = {.log = log}, .y = {.log = log}, .width = 200, .height = 150};
      plot.series.push_back({.name = "s", .x = x, .y = y, .low = y, .high = y, .points = true, .fill = true});
      plot.lines.push_back({nan, "nothing"});
      expect_png(render_png(plot), 400, 300);
    }
    BarChart chart{
        .title = "t", .categories = std::vector<std::string>(y.size() + 1, "name"), .series = {{"s", y}}};
    EXPECT_EQ(render_png(chart).substr(1, 3), "PNG");
    HeatMap map{.title = "t", .num_columns = 2, .values = y};
    EXPECT_EQ(render_png(map).substr(1, 3), "PNG");
  }
  LinePlot odd{.title = "\xff\xfe bytes that are no text \xe2\x82", .width = 200, .height = 150};
  odd.series.push_back({.name = "x longer than y", .x = {1, 2, 3}, .y = {1}, .dashed = true});
  expect_png(render_png(odd), 400, 300);
}

TEST(Plot, TicksAreRound) {
  EXPECT_EQ(labels({.low = 0, .high = 1}, 5), (Labels{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(labels({.low = -0.1, .high = 0.1}, 4), (Labels{"-0.10", "-0.05", "0", "0.05", "0.10"}));
  EXPECT_EQ(labels({.low = 3, .high = 2000}, 4), (Labels{"500", "1000", "1500", "2000"}));
  EXPECT_EQ(labels({.low = 0, .high = 20000}, 4), (Labels{"0", "5 K", "10 K", "15 K", "20 K"}));
  EXPECT_EQ(labels({.low = 0.0002, .high = 10, .log = true}, 5), (Labels{"0.001", "0.01", "0.1", "1", "10"}));
  EXPECT_EQ(labels({.low = 1e-6, .high = 1e-4, .log = true}, 3), (Labels{"10⁻⁶", "10⁻⁵", "10⁻⁴"}));
}

TEST(Plot, TicksStayInsideAndFewForAnyRange) {
  for (double low : {-1e9, -3.7, 0.0, 1e-12, 0.3, 5e8}) {
    for (double size : {1e-9, 0.1, 3.3, 1e4, 1e12}) {
      const Mapping m{.low = low, .high = low + std::max(size, std::abs(low) * 1e-6)};
      const std::vector<Tick> ticks = ticks_for(m, 6);
      EXPECT_LE(ticks.size(), 9u);
      const double slack = (m.high - m.low) * 1e-5;
      for (const Tick& tick : ticks) {
        EXPECT_GE(tick.value, m.low - slack);
        EXPECT_LE(tick.value, m.high + slack);
      }
    }
  }
}

TEST(Plot, MappingIsLinearOrLogarithmic) {
  const Mapping linear{.low = 10, .high = 20, .from = 100, .to = 200};
  EXPECT_FLOAT_EQ(linear(15), 150);
  const Mapping log{.low = 1, .high = 10000, .log = true, .from = 0, .to = 4};
  EXPECT_NEAR(log(100), 2, 1e-6);
  EXPECT_FALSE(log.shows(0));
  EXPECT_FALSE(log.shows(NAN));
}

TEST(Plot, AHistogramCountsEveryFiniteValueOnce) {
  const Series h = histogram("w", {0, 0.1, 0.9, 1, NAN, INFINITY}, 4);
  ASSERT_EQ(h.x.size(), 5u);
  EXPECT_EQ(h.y, (std::vector<double>{2, 0, 0, 2, 2}));  // the last entry repeats: it closes the last step
  EXPECT_TRUE(histogram("w", {NAN}, 4).x.empty());
}

TEST(Plot, SavingSaysWhatWentWrong) {
  LinePlot plot{.title = "t", .width = 100, .height = 100};
  const std::string path = testing::TempDir() + "chalk_plot_" + std::to_string(getpid()) + "/a/loss.png";
  save_png(plot, path);
  EXPECT_EQ(read_text(path), render_png(plot));
  EXPECT_THROW(save_png(plot, "/dev/null/loss.png"), Error);
}

TEST(Canvas, AShapeCoversItsAreaAndNoMore) {
  Canvas canvas(20, 10, 1, hex(0xFFFFFF));
  canvas.rect({5, 2}, {15, 8}, hex(0x000000));
  const std::string black = canvas.png();
  Canvas clipped(20, 10, 1, hex(0xFFFFFF));
  clipped.clip({5, 2}, {15, 8});
  clipped.rect({-100, -100}, {100, 100}, hex(0x000000));  // the clip cuts it to the same rectangle
  EXPECT_EQ(black, clipped.png());
}

TEST(Text, WiderWithMoreLettersAndWithUnicode) {
  EXPECT_GT(text_width("two words", 12, false), text_width("two", 12, false));
  EXPECT_EQ(text_width("", 12, false), 0);
  if (!has_real_font())
    GTEST_SKIP() << "DejaVu Sans (fonts-dejavu-core) is not installed: built-in letters are in use";
  EXPECT_LT(text_width("ü", 12, false), 1.5 * text_width("u", 12, false));  // one letter, though two bytes
}

}  // namespace
}  // namespace chalk
