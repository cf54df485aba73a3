#include "tutorials/support/gptq_report.h"

namespace chalk {

std::vector<double> values(const std::vector<Measured>& all,
                           const std::function<double(const Measured&)>& value) {
  std::vector<double> result;
  for (const Measured& m : all) result.push_back(value(m));
  return result;
}

std::string name_of(const Setting& s) {
  return fmt::format("{} bits, {}", s.bits, s.group < 0 ? "rows" : fmt::format("groups of {}", s.group));
}

Table perplexity_table(const std::vector<Measured>& all) {
  Table table{.header = {"grid", "rounding", "GPTQ", "act-order + true-seq.", "paper, OPT-125M: rounding",
                         "GPTQ", "authors' code, LLaMA-7B: rounding", "GPTQ"}};
  const std::string full = spread(values(all, [](const Measured& m) { return std::exp(m.full); }));
  table.rows.push_back({"float", full, full, full, "27.65", "27.65", "5.68", "5.68"});
  for (size_t i = 0; i < gptq_settings.size(); ++i) {
    std::vector<std::string> row = {name_of(gptq_settings[i])};
    for (int method = 0; method < method_count; ++method) {
      row.push_back(spread(values(all, [&](const Measured& m) { return m.ppl(method, i); })));
    }
    row.insert(row.end(), std::begin(gptq_settings[i].theirs), std::end(gptq_settings[i].theirs));
    table.rows.push_back(row);
  }
  return table;
}

LinePlot loss_plot_of(const std::string& subject, const std::vector<Measured>& all) {
  LinePlot plot{.title = "Loss added by quantization: " + subject,
                .subtitle = "nats per token above the float model; bands: seeds",
                .x = {.label = "bits"},
                .y = {.label = "nats per token", .log = true}};
  for (int64_t group : {-1, 32}) {
    for (int method : {Rtn, Gptq}) {
      Series line{.name = fmt::format("{}, {}", method_names[method], group < 0 ? "rows" : "groups of 32"),
                  .x = {},
                  .y = {},
                  .points = true,
                  .dashed = method == Rtn,
                  .colour = group < 0 ? 0 : 1};
      for (size_t i = 0; i < gptq_settings.size(); ++i) {
        if (gptq_settings[i].group != group) continue;
        const std::vector<double> added =
            values(all, [&](const Measured& m) { return m.loss[method][i] - m.full; });
        line.x.push_back(gptq_settings[i].bits), line.y.push_back(mean_of(added));
        line.low.push_back(lowest(added)), line.high.push_back(highest(added));
      }
      plot.series.push_back(line);
    }
  }
  return plot;
}

BarChart layer_bars(const std::vector<gptq::LayerReport>& reports) {
  BarChart chart{.title = "Squared output error, GPTQ / rounding",
                 .subtitle = "3 bits, one grid per row; on the calibration text"};
  BarSeries measured{.name = "measured", .values = {}};
  BarMarker predicted{
      .name = "predicted from the inputs alone (I4)", .values = {}, .shape = BarMarker::Diamond};
  for (const gptq::LayerReport& r : reports) {
    chart.categories.push_back(r.slot);
    measured.values.push_back(r.error / r.rtn_error);
    predicted.values.push_back(r.predicted);
  }
  chart.series = {measured}, chart.markers = {predicted}, chart.max = 1;
  return chart;
}

}  // namespace chalk
