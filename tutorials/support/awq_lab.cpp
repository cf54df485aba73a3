// Runs the treatments and draws what they did.

#include "tutorials/support/awq_lab.h"

#include <array>
#include <cmath>

#include "models/load.h"
#include "models/train.h"
#include "tutorials/support/over_seeds.h"

namespace chalk {
namespace {

// One line of the table: a treatment, and the paper's perplexity of OPT-6.7B at INT3-g128 (NaN: not in the paper).
struct Method {
  const char* name;
  double paper;
  std::function<AwqResult(LanguageModel&, const IntTensor&, const AwqOptions&)> apply;
};

Method awq_method(const char* name, double paper, bool scales, bool clip, AwqOptions::Rule rule = {}) {
  return {name, paper, [=](LanguageModel& model, const IntTensor& text, AwqOptions options) {
            options.scale_search = scales, options.clip_search = clip, options.rule = rule;
            return quantize_awq(model, text, options);
          }};
}

Method kept_method(const char* name, double paper, Salience salience, double share) {
  return {name, paper, [=](LanguageModel& model, const IntTensor& text, const AwqOptions& options) {
            round_except_salient(model, text, salience, share, options);
            return AwqResult{};
          }};
}

constexpr double not_in_paper = NAN;

std::vector<Method> methods(double share) {  // in the order of Row
  return {{"float", 10.86, [](LanguageModel&, const IntTensor&, const AwqOptions&) { return AwqResult{}; }},
          awq_method("round to nearest", 23.54, false, false),
          kept_method("  columns kept float: largest activation", 11.36, Salience::Activation, share),
          kept_method("  columns kept float: largest weight norm", 22.45, Salience::WeightNorm, share),
          kept_method("  columns kept float: random", 24.22, Salience::Random, share),
          awq_method("AWQ, scales only", not_in_paper, true, false),
          awq_method("AWQ, clipping only", not_in_paper, false, true),
          awq_method("AWQ", 11.39, true, true),
          awq_method("AWQ with AutoAWQ's duo scaling", not_in_paper, true, true, AwqOptions::Rule::Duo)};
}

const std::vector<float> sweep = {1, 1.25f, 1.5f, 2, 4, 8, 16, 32};

// Table 2: the salient columns of the first attention times s.
void sweep_factors(LanguageModel& model, const IntTensor& text, const AwqOptions& options, double share,
                   AwqMeasurement& measured) {
  NoGrad no_grad;
  std::vector<Tensor> next;
  BlockWalk walk(model, {text});
  const std::vector<FoldingGroup> groups = folding_groups(model, 0);
  const Tensor x = record_inputs(walk, groups, next).at(groups[0].input), y = groups[0].forward(x);
  const std::vector<float> w = linear_in(*groups[0].readers[0]).weight.to_vector();
  const auto salient = salient_channels(Salience::Activation, activation_magnitude(x), w, share, 1);
  for (float factor : sweep) {
    std::vector<float> s(size_t(model.width()), 1);
    for (int64_t c : salient) s[size_t(c)] = factor;
    measured.effects.push_back(scaling_effect(w, model.width(), salient, factor, options));
    measured.output_error.push_back(loss_of_scales(groups[0], x, y, s, options));
  }
}

}  // namespace

AwqMeasurement measure_awq(const std::string& path, const AwqLab& o, const Corpus& corpus, Context& context) {
  IntTensor text{{0, 0}, {}};  // calibration: 64 rows of training documents
  for (int64_t i = 0; text.shape[0] < 64; ++i) {
    const Batch batch = corpus.train(i);
    text.values.insert(text.values.end(), batch.ids.begin(), batch.ids.end());
    text.shape = {text.shape[0] + batch.B, batch.T};
  }
  const AwqOptions options{.bits = o.bits, .group_size = o.group, .short_groups = true};
  AwqMeasurement measured;
  for (int outliers = 0; outliers < 2; ++outliers) {
    for (const Method& method : methods(o.fraction)) {
      const LoadedModel loaded = load_model(path, o.tokenizer, context.device);
      const OutlierOptions how{.fraction = o.fraction, .factor = float(o.factor), .seed = o.seed};
      if (outliers == 1) measured.injected = inject_outliers(*loaded.model, how).describe();
      if (outliers == 1 && measured.loss[1].empty())
        sweep_factors(*loaded.model, text, options, o.fraction, measured);
      const AwqResult result = method.apply(*loaded.model, text, options);
      if (outliers == 1 && measured.loss[1].size() == Awq) measured.searches = result.searches;
      const int64_t batches = std::min(o.batches, corpus.validation_batches);
      measured.loss[outliers].push_back(validation_loss(*loaded.model, batches, corpus.validation));
      context.say(fmt::format("{}{:<42} {:.4f}", outliers ? "with outliers  " : "as trained     ",
                              method.name, measured.loss[outliers].back()));
    }
  }
  return measured;
}

// ---- what is shown ----

std::vector<double> losses_of(const std::vector<AwqMeasurement>& all, int outliers, int row) {
  std::vector<double> losses;
  for (const AwqMeasurement& m : all) losses.push_back(m.loss[outliers][size_t(row)]);
  return losses;
}

const char* method_name(int row, const AwqLab& o) {
  return methods(o.fraction)[size_t(row)].name;
}

Table loss_table(const std::vector<AwqMeasurement>& all, const AwqLab& o) {
  Table table{.header = {"method", "paper: OPT-6.7B, INT3-g128", "loss as trained", "loss with outliers",
                         "share of rounding's damage left"}};
  const std::vector<Method> rows = methods(o.fraction);
  for (size_t row = 0; row < rows.size(); ++row) {
    const double zero = mean_of(losses_of(all, 1, Float)), damage = mean_of(losses_of(all, 1, Rtn)) - zero;
    table.rows.push_back(
        {rows[row].name, std::isnan(rows[row].paper) ? "-" : fmt::format("{:.2f}", rows[row].paper),
         spread(losses_of(all, 0, int(row)), 4), spread(losses_of(all, 1, int(row)), 4),
         fmt::format("{:.0f} %", 100 * (mean_of(losses_of(all, 1, int(row))) - zero) / damage)});
  }
  return table;
}

Table sweep_table(const AwqMeasurement& m) {
  Table table{.header = {"s", "groups with another step", "paper", "step ratio", "paper", "error factor",
                         "paper", "output error"}};
  const std::map<float, std::array<double, 3>> paper = {{1.0f, {0, 1, 1}},
                                                        {1.25f, {2.8, 1.005, 0.804}},
                                                        {1.5f, {4.4, 1.013, 0.676}},
                                                        {2.0f, {8.2, 1.038, 0.519}},
                                                        {4.0f, {21.2, 1.213, 0.303}}};
  for (size_t i = 0; i < sweep.size(); ++i) {
    const auto theirs = paper.find(sweep[i]);
    const auto cell = [&](int k, const char* format) {
      return theirs == paper.end() ? std::string("-")
                                   : fmt::format(fmt::runtime(format), theirs->second[size_t(k)]);
    };
    table.rows.push_back({fmt::format("{}", sweep[i]),
                          fmt::format("{:.1f} %", 100 * m.effects[i].changed_groups), cell(0, "{:.1f} %"),
                          fmt::format("{:.3f}", m.effects[i].step_ratio), cell(1, "{:.3f}"),
                          fmt::format("{:.3f}", m.effects[i].error_factor), cell(2, "{:.3f}"),
                          fmt::format("{:.3e}", m.output_error[i])});
  }
  return table;
}

LinePlot alpha_plot(const AwqMeasurement& m) {
  LinePlot plot{.title = "The search: loss of each alpha",
                .subtitle = "share of plain rounding's, one line per group of products",
                .x = {.label = "alpha"},
                .y = {.label = "loss / loss at alpha 0", .log = true}};
  for (const ScaleSearch& search : m.searches) {
    if (!search.applied) continue;
    const bool norm = search.input.find("norm") != std::string::npos;
    Series line{.name = plot.series.size() == 0   ? "inputs with outliers"
                        : plot.series.size() == 1 ? "other inputs"
                                                  : "",
                .x = search.alphas,
                .y = {}};
    for (double loss : search.losses) line.y.push_back(loss / search.losses[0]);
    line.colour = norm ? 0 : 1, line.dashed = !norm;
    plot.series.push_back(line);
  }
  return plot;
}

BarChart loss_bars(const std::vector<AwqMeasurement>& all, const AwqLab& o) {
  BarChart chart{.title = fmt::format("Loss added by {} bits", o.bits),
                 .subtitle = "nats per token above the float model",
                 .decimals = 4};
  BarSeries plain{.name = "as trained", .values = {}}, outliers{.name = "with outliers", .values = {}};
  for (int row = Rtn; row <= Duo; ++row) {
    chart.categories.push_back(method_name(row, o));
    plain.values.push_back(mean_of(losses_of(all, 0, row)) - mean_of(losses_of(all, 0, Float)));
    outliers.values.push_back(mean_of(losses_of(all, 1, row)) - mean_of(losses_of(all, 1, Float)));
  }
  chart.series = {plain, outliers};
  return chart;
}

}  // namespace chalk
