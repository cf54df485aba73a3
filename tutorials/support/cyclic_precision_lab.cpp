#include "tutorials/support/cyclic_precision_lab.h"

#include "tutorials/support/progress.h"

namespace chalk {

void train(CyclicLab& lab, CyclicRun& run) {
  const auto model = lab.fresh();
  CyclicModel cyclic = make_cyclic(*model);
  Trainer trainer(*model, lab.settings.train);
  Progress progress(fmt::format("seed {}, {}", lab.seed, run.name), 0, lab.options.steps, lab.context.quiet);
  for (int64_t i = 0; i < lab.options.steps; ++i) {
    const StepResult step =
        cyclic_train_step(cyclic, trainer, run.schedule, run.backward_bits, lab.corpus.train);
    progress.step(i + 1, {.loss = step.loss, .tokens = step.tokens});
    if (run.loss.empty() && (i + 1) % std::max<int64_t>(1, lab.options.steps / 16) == 0) {
      cyclic.set_precision(run.schedule.high,
                           16);  // one width for all points, or the curve would be a sawtooth
      run.curve.x.push_back(double(i + 1)), run.curve.y.push_back(lab.loss(*model, 5));
    }
  }
  cyclic.set_precision(run.schedule.bits(lab.options.steps - 1), 16);
  run.loss.push_back(lab.loss(*model, 40));
  run.cost = total_cost(run.schedule, run.backward_bits);
}

std::string percent(double part, double whole) {
  return fmt::format("{:+.1f} %", 100 * (part / whole - 1));
}

Table table_of(const RangeTest& test) {
  Table table{.header = {"bits"}, .rows = {{"training loss after 20 steps"}}};
  for (size_t i = 0; i < test.bits.size(); ++i) {
    table.header.push_back(std::to_string(test.bits[i]));
    table.rows[0].push_back(fmt::format("{:.3f}", test.losses[i]));
  }
  return table;
}

Table result_table(const std::vector<CyclicRun>& runs, const CyclicRun& still) {
  Table table{
      .header = {"training", "nats per token", "minus static high", "bit operations", "against static high"}};
  for (const CyclicRun& r : runs) {
    table.rows.push_back({r.name, spread(r.loss), spread(difference(r.loss, still.loss)),
                          fmt::format("{:.2f}", r.cost), percent(r.cost, still.cost)});
  }
  return table;
}

LinePlot loss_plot(const std::vector<CyclicRun>& runs, const CyclicRun& still) {
  LinePlot plot{.title = "Loss above " + still.name + " bits while training",
                .x = {.label = "step"},
                .y = {.label = "nats per token"}};
  for (const CyclicRun& r : runs) {
    if (&r != &still)
      plot.series.push_back({.name = r.name, .x = r.curve.x, .y = difference(r.curve.y, still.curve.y)});
  }
  return plot;
}

LinePlot bits_plot(const CyclicRun& run, int64_t steps) {
  Series bits{.name = run.name, .x = {}, .y = {}, .steps = true};
  for (int64_t t = 0; t < steps; ++t) bits.x.push_back(double(t)), bits.y.push_back(run.schedule.bits(t));
  return {.title = "Precision over the steps",
          .x = {.label = "step"},
          .y = {.label = "bits of weights and activations"},
          .series = {bits}};
}

}  // namespace chalk
