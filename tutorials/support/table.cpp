#include "tutorials/support/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace chalk {
namespace {

// Columns on a terminal: code points, not bytes ("√" is three bytes wide in memory, one on the screen).
size_t display_width(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

std::string padded(const std::string& text, size_t width, bool right) {
  const std::string space(width - std::min(width, display_width(text)), ' ');
  return right ? space + text : text + space;
}

// Three figures and the largest unit that keeps the number at 1 or more.
std::string scaled(double value, double base, const std::vector<const char*>& units) {
  size_t unit = 0;
  while (std::abs(value) >= base && unit + 1 < units.size()) value /= base, unit++;
  const int decimals = unit == 0 || std::abs(value) >= 100 ? 0 : std::abs(value) >= 10 ? 1 : 2;
  std::string number = fmt::format("{:.{}f}", value, decimals);
  if (decimals > 0) number.erase(number.find_last_not_of('0') + 1);
  if (number.back() == '.') number.pop_back();
  return *units[unit] ? number + " " + units[unit] : number;
}

}  // namespace

bool Table::is_numeric(size_t column) const {
  bool any = false;
  for (const auto& row : rows) {
    if (column >= row.size() || row[column].empty() || row[column] == "-") continue;
    const std::string& cell = row[column];
    const size_t first = cell.find_first_not_of("+-.~<>");
    const std::string lower = cell.substr(std::min(cell.size(), cell.find_first_not_of("+-")));
    const bool special = lower.rfind("nan", 0) == 0 || lower.rfind("inf", 0) == 0;
    if (!special && (first == std::string::npos || cell[first] < '0' || cell[first] > '9')) return false;
    any = true;
  }
  return any;
}

std::string to_text(const Table& table) {
  size_t columns = table.header.size();
  for (const auto& row : table.rows) columns = std::max(columns, row.size());
  auto cell = [](const std::vector<std::string>& row, size_t c) {
    return c < row.size() ? row[c] : std::string();
  };

  std::vector<size_t> width(columns);
  std::vector<bool> right(columns);
  for (size_t c = 0; c < columns; c++) {
    width[c] = display_width(cell(table.header, c));
    right[c] = table.is_numeric(c);
    for (const auto& row : table.rows) width[c] = std::max(width[c], display_width(cell(row, c)));
  }
  auto line = [&](const std::vector<std::string>& row) {
    std::string out;
    for (size_t c = 0; c < columns; c++) out += (c ? "  " : "") + padded(cell(row, c), width[c], right[c]);
    out.erase(out.find_last_not_of(' ') + 1);
    return out + "\n";
  };
  std::vector<std::string> rule;
  for (size_t c = 0; c < columns; c++) rule.push_back(std::string(width[c], '-'));
  std::string out = line(table.header) + line(rule);
  for (const auto& row : table.rows) out += line(row);
  return out;
}

std::string human_bytes(double bytes) {
  return scaled(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}
std::string human_count(double count) {
  return scaled(count, 1000, {"", "K", "M", "B", "T"});
}

std::string human_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "unknown";
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  if (seconds > 1e9) return "years";
  const int64_t s = std::llround(seconds);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
  return fmt::format("{} days {} h", s / 86400, s % 86400 / 3600);
}

std::string describe_estimate(double seconds_per_step, int64_t steps, int64_t measured_steps) {
  return fmt::format("about {}: {} steps of {}, measured over {} step{}",
                     human_duration(seconds_per_step * double(steps)), steps,
                     human_duration(seconds_per_step), measured_steps, measured_steps == 1 ? "" : "s");
}

}  // namespace chalk
