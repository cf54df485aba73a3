// The loss curve and the page of a training run.

#include "tutorials/support/training_report.h"

#include <algorithm>
#include <filesystem>

#include "models/io/file.h"
#include "tutorials/support/plot.h"

namespace chalk {
namespace {

// The rows of metrics.jsonl that hold `key`, as a curve over the step.
Series curve_of(const std::vector<Json>& rows, const std::string& key, const std::string& name) {
  Series series{.name = name, .x = {}, .y = {}};
  for (const Json& row : rows) {
    const auto value = row.find(key);
    if (value == row.end() || !value->is_number()) continue;
    series.x.push_back(row["step"].get<double>());
    series.y.push_back(value->get<double>());
  }
  return series;
}

// Each point becomes the mean of the points around it: noise of single batches hides the trend.
Series smoothed(Series series, size_t radius) {
  const std::vector<double> raw = series.y;
  for (size_t i = 0; i < raw.size(); ++i) {
    const size_t first = i > radius ? i - radius : 0, last = std::min(raw.size() - 1, i + radius);
    double sum = 0;
    for (size_t j = first; j <= last; ++j) sum += raw[j];
    series.y[i] = sum / double(last - first + 1);
  }
  return series;
}

}  // namespace

LinePlot loss_plot(const RunFolder& run) {
  const std::vector<Json> rows = run.metrics();
  LinePlot plot{.title = "Loss", .x = {.label = "step"}, .y = {.label = "nats per token"}};
  Series raw = curve_of(rows, "loss", "");
  raw.faint = true, raw.colour = 0;
  Series train = smoothed(raw, std::max<size_t>(1, raw.y.size() / 100));
  train.name = "training (weighted, averaged)", train.faint = false;
  Series validation = curve_of(rows, "validation_loss", "validation");
  validation.points = true, validation.colour = 1;
  plot.series = {raw, train, validation};
  return plot;
}

std::vector<std::pair<int64_t, std::string>> run_samples(const RunFolder& run) {
  std::vector<std::pair<int64_t, std::string>> samples;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(run.path("samples"), ignored)) {
    const std::string name = entry.path().filename().string();  // step_000100.txt
    const size_t digits = name.find_first_of("0123456789");
    if (digits == std::string::npos) continue;
    samples.emplace_back(std::stoll(name.substr(digits)), read_text(entry.path().string()));
  }
  std::sort(samples.begin(), samples.end());
  return samples;
}

void write_training_report(const RunFolder& run, const Context& context, const TrainOutcome& outcome) {
  const LinePlot plot = loss_plot(run);
  save_png(plot, run.path("plots/loss.png"));

  Report report("Training run",
                fmt::format("{} parameters, {} steps, {} of training", human_count(double(outcome.parameters)),
                            outcome.steps, human_duration(outcome.seconds)));
  report.figures({{"validation loss", fmt::format("{:.3f}", outcome.validation_loss), "nats per token"},
                  {"speed", human_count(outcome.tokens_per_second), "positions per second"},
                  {"peak memory", human_bytes(double(outcome.peak_bytes)), "of tensors"}});
  report.section("Learning");
  report.plot(plot, "Pale: the loss of each logged batch. The validation loss is unweighted and without dropout.");
  const auto samples = run_samples(run);
  if (!samples.empty()) {
    report.section("What it wrote");
    for (const auto* s : {&samples.front(), &samples[samples.size() / 2], &samples.back()}) {
      report.code(s->second, fmt::format("after {} steps", s->first));
    }
  }
  report.section("How to make it again");
  report.environment(context);
  report.save(run.path("report.html"));
}

}  // namespace chalk
