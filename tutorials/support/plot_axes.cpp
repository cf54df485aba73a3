#include "tutorials/support/plot_axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/io/file.h"
#include "tutorials/support/table.h"

namespace chalk {
namespace {

// "10⁻⁵": exponents as raised digits.
std::string power_of_ten(int exponent) {
  static const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = "10";
  for (char c : std::to_string(exponent)) out += c == '-' ? "⁻" : digits[c - '0'];
  return out;
}

std::string log_label(double value) {
  const int exponent = int(std::floor(std::log10(value) + 1e-9));
  if (exponent >= -3 && exponent <= 3) return fmt::format("{:g}", value);
  const double lead = value / std::pow(10, exponent);
  return (std::abs(lead - 1) < 1e-6 ? "" : fmt::format("{:g}·", lead)) + power_of_ten(exponent);
}

std::vector<Tick> log_ticks(const Mapping& m, int wanted) {
  const double decades = std::log10(m.high / m.low);
  std::vector<double> leads = {1};
  if (decades < 1.2)
    leads = {1, 2, 3, 4, 5, 6, 8};
  else if (decades < wanted / 2.0)
    leads = {1, 2, 5};
  const int every = std::max(1, int(std::ceil(decades / wanted)));
  std::vector<Tick> ticks;
  const int first = int(std::floor(std::log10(m.low))), last = int(std::ceil(std::log10(m.high)));
  for (int exponent = first; exponent <= last; exponent++) {
    if (exponent % every != 0) continue;
    for (double lead : leads) {
      const double value = lead * std::pow(10.0, exponent);
      if (value >= m.low * 0.999999 && value <= m.high * 1.000001) ticks.push_back({value, log_label(value)});
    }
  }
  return ticks;
}

std::string linear_label(double value, double step, double largest) {
  if (std::abs(value) < step * 1e-6) return "0";
  if (largest >= 1e4) return human_count(value);
  if (largest < 1e-3) return fmt::format("{:g}", value);
  // As many decimals as the step has: 0.25 needs two, 0.5 one.
  const int decimals = std::max(0, int(std::ceil(-std::log10(step) - 1e-9)));
  const bool quarter =
      std::abs(step * std::pow(10, decimals) - std::round(step * std::pow(10, decimals))) > 1e-6;
  return fmt::format("{:.{}f}", value, decimals + quarter);
}

const float kLegendGap = 22;

float swatch_width(const LegendEntry& entry) {
  switch (entry.shape) {
    case LegendEntry::Box:
      return 14;
    case LegendEntry::Tick:
      return 4;
    case LegendEntry::Diamond:
      return 12;
    default:
      return 20;
  }
}

}  // namespace

const Style& style_of(Theme theme) {
  static const std::vector<Colour> on_light = {hex(0x0072B2), hex(0xD55E00), hex(0x009E73), hex(0xCC79A7),
                                               hex(0xE69F00), hex(0x56B4E9), hex(0x555555)};
  static const std::vector<Colour> on_dark = {hex(0x56B4E9), hex(0xFF8A4C), hex(0x2CC295), hex(0xE39AC4),
                                              hex(0xF0B93A), hex(0x8FA8FF), hex(0xB0B0B0)};
  static const Style light = {hex(0xFFFFFF), hex(0x1F2328), hex(0x656D76),
                              hex(0xE7EAEE), hex(0x9AA2AB), on_light};
  static const Style dark = {hex(0x161B22), hex(0xE6EDF3), hex(0x9BA5B0),
                             hex(0x2A313A), hex(0x5C6670), on_dark};
  return theme == Theme::Light ? light : dark;
}

float Mapping::operator()(double value) const {
  const double t = log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return float(from + (to - from) * std::clamp(t, -1.0, 2.0));
}

bool Mapping::shows(double value) const {
  return std::isfinite(value) && (!log || value > 0);
}

Mapping mapping_for(const Axis& axis, double low, double high, double pad) {
  Mapping m{.log = axis.log};
  if (!(low <= high)) low = axis.log ? 0.1 : 0, high = 1;  // no data at all
  if (low == high) {                                       // one value: give it room
    const double room = axis.log ? 0 : std::max(std::abs(low) * 0.1, 1e-12);
    low = axis.log ? low / 2 : low - room;
    high = axis.log ? high * 2 : high + room;
  }
  const double grow = axis.log ? std::pow(high / low, pad) : (high - low) * pad;
  m.low = axis.min ? *axis.min : axis.log ? low / grow : low - grow;
  m.high = axis.max ? *axis.max : axis.log ? high * grow : high + grow;
  // Padding must not invent negative values where there are none.
  if (!axis.min && !axis.log && low >= 0 && m.low < 0) m.low = 0;
  if (!(m.high > m.low)) m.high = m.low + 1;
  if (m.log && !(m.low > 0)) m.low = m.high / 1e3;
  return m;
}

std::vector<Tick> ticks_for(const Mapping& m, int wanted) {
  if (m.log && m.high / m.low > 12) return log_ticks(m, wanted);
  const double rough = (m.high - m.low) / std::max(1, wanted);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (double lead : {1.0, 2.0, 2.5, 5.0}) {
    if (lead * power >= rough * 0.8) {
      step = lead * power;
      break;
    }
  }
  std::vector<Tick> ticks;
  const double largest = std::max(std::abs(m.low), std::abs(m.high));
  for (double i = std::ceil(m.low / step - 1e-6) + 0.0; i * step <= m.high + step * 1e-6; i++) {
    ticks.push_back({i * step, linear_label(i * step, step, largest)});
  }
  return ticks;
}

// Entries flow from left to right and wrap; with `draw` off only the height is found.
static float lay_out_legend(Canvas& canvas, const Style& style, const std::vector<LegendEntry>& legend,
                            float y, bool draw) {
  float x = kMargin;
  for (const LegendEntry& entry : legend) {
    const float swatch = swatch_width(entry);
    const float width = swatch + 7 + canvas.width_of(entry.name, kTextSize);
    if (x > kMargin && x + width > canvas.width() - kMargin) x = kMargin, y += 20;
    const float middle = y - 4.5f;
    if (draw) {
      const Point left = {x, middle}, right = {x + swatch, middle}, centre = {x + swatch / 2, middle};
      switch (entry.shape) {
        case LegendEntry::Line:
          canvas.line({left, right}, 2.5f, entry.colour);
          break;
        case LegendEntry::Dashed:
          canvas.line({left, right}, 2, entry.colour, 1, 4);
          break;
        case LegendEntry::Box:
          canvas.rect({x, middle - 6.5f}, {x + swatch, middle + 6.5f}, entry.colour, 2.5f);
          break;
        case LegendEntry::Tick:
          canvas.line({{centre.x, middle - 6}, {centre.x, middle + 6}}, 2, entry.colour);
          break;
        case LegendEntry::Diamond:
          canvas.diamond(centre, 6, entry.colour);
          break;
      }
      canvas.text({x + swatch + 7, y}, entry.name, kTextSize, style.text);
    }
    x += width + kLegendGap;
  }
  return legend.empty() ? y - 20 : y;
}

float draw_header(Canvas& canvas, const Style& style, const std::string& title, const std::string& subtitle,
                  const std::vector<LegendEntry>& legend) {
  float y = kMargin + 14;
  canvas.text({kMargin, y}, title, kTitleSize, style.text, Anchor::Left, true);
  if (!subtitle.empty()) canvas.text({kMargin, y += 20}, subtitle, kTextSize, style.muted);
  return lay_out_legend(canvas, style, legend, y + 26, true) + 12;
}

float header_height(const Canvas& measure, const std::string& subtitle,
                    const std::vector<LegendEntry>& legend) {
  const float y = kMargin + 14 + (subtitle.empty() ? 0 : 20);
  return lay_out_legend(const_cast<Canvas&>(measure), style_of(Theme::Light), legend, y + 26, false) + 12;
}

void save_bytes(const std::string& path, const std::string& bytes) {
  const size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) make_folders(path.substr(0, slash));
  write_text(path, bytes);
}

}  // namespace chalk
