// Rows of methods as text, bars and JSON.

#include "tutorials/support/method_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "autograd/check.h"
#include "models/storage.h"

namespace chalk {
namespace {

struct Difference {
  double mean, low, high;
};

Difference difference(const MethodRow& row, const MethodRow& base) {
  Difference d{row.mean() - base.mean(), INFINITY, -INFINITY};
  for (size_t i = 0; i < std::min(row.losses.size(), base.losses.size()); ++i) {
    d.low = std::min(d.low, row.losses[i] - base.losses[i]);
    d.high = std::max(d.high, row.losses[i] - base.losses[i]);
  }
  return d;
}

struct Column {
  std::string name;
  std::function<std::string(const MethodRow&)> cell;  // empty: not measured
};

std::vector<Column> columns_for(const MethodRow& base) {
  const auto number = [](double value, const char* format) {
    return value > 0 ? fmt::format(fmt::runtime(format), value) : std::string();
  };
  return {
      {"loss", [](const MethodRow& r) { return r.losses.empty() ? "" : fmt::format("{:.4f}", r.mean()); }},
      {"perplexity",
       [](const MethodRow& r) { return r.losses.empty() ? "" : fmt::format("{:.3f}", std::exp(r.mean())); }},
      {"above float",
       [base](const MethodRow& r) {
         return r.losses.empty() ? "" : fmt::format("{:+.4f}", difference(r, base).mean);
       }},
      {"over the seeds",
       [base](const MethodRow& r) {
         const Difference d = difference(r, base);
         return r.losses.size() < 2 ? "" : fmt::format("{:+.4f} to {:+.4f}", d.low, d.high);
       }},
      {"SNR, dB", [=](const MethodRow& r) { return number(r.snr, "{:.1f}"); }},
      {"bits, all", [=](const MethodRow& r) { return number(r.effective_bits, "{:.2f}"); }},
      {"in memory", [](const MethodRow& r) { return r.memory > 0 ? human_bytes(double(r.memory)) : ""; }},
      {"on disk", [](const MethodRow& r) { return r.disk > 0 ? human_bytes(double(r.disk)) : ""; }},
      {"tokens/s", [=](const MethodRow& r) { return number(r.tokens_per_second, "{:.1f}"); }},
  };
}

}  // namespace

void MethodRow::weigh(LanguageModel& model, int float_bits) {
  effective_bits = storage_of(model, float_bits).effective_bits();
  memory = resident_bytes(model);
}

double MethodRow::mean() const {
  return std::accumulate(losses.begin(), losses.end(), 0.0) / double(std::max<size_t>(1, losses.size()));
}

Table method_table(const std::vector<MethodRow>& rows) {
  Table table{.header = {"weights"}, .rows = {}};
  for (const MethodRow& row : rows) table.rows.push_back({row.name});
  for (const Column& column : columns_for(rows.at(0))) {
    std::vector<std::string> cells;
    for (const MethodRow& row : rows) cells.push_back(column.cell(row));
    if (std::all_of(cells.begin(), cells.end(), [](const std::string& cell) { return cell.empty(); }))
      continue;
    table.header.push_back(column.name);
    for (size_t i = 0; i < rows.size(); ++i) table.rows[i].push_back(cells[i]);
  }
  return table;
}

BarChart method_bars(const std::vector<MethodRow>& rows, const std::string& title) {
  BarChart chart{.title = title, .subtitle = "nats per token above the float model", .decimals = 3};
  BarSeries series{.name = "mean over seeds", .values = {}};
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].losses.empty()) continue;
    const Difference d = difference(rows[i], rows[0]);
    chart.categories.push_back(rows[i].name);
    series.values.push_back(d.mean), series.low.push_back(d.low), series.high.push_back(d.high);
  }
  chart.series = {series};
  return chart;
}

Json to_json(const MethodRow& row) {
  return {{"name", row.name},
          {"losses", row.losses},
          {"snr_db", row.snr},
          {"effective_bits", row.effective_bits},
          {"memory_bytes", row.memory},
          {"disk_bytes", row.disk},
          {"tokens_per_second", row.tokens_per_second}};
}

const MethodRow& find_row(const std::vector<MethodRow>& rows, const std::string& name) {
  for (const MethodRow& row : rows) {
    if (row.name == name) return row;
  }
  throw Error("no row named " + name);
}

}  // namespace chalk
