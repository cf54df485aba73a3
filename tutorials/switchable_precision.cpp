// One GPT-2 that runs at 2, 4, 6, 8 and 16 bits: trained jointly, against networks trained for one width each
// and against rounding without training. The method is papers/qat/switchable_precision.h; its page lies
// beside it.

#include <map>

#include "tutorials/support/switchable_precision_lab.h"

using namespace chalk;

struct Row {
  std::vector<double> rounded, best_step, separate, joint;  // one loss per seed
};
using ByWidth = std::map<int, Row>;

static void measure(QatLab& lab, const SwitchableLabOptions& o, ByWidth& rows, const RunFolder& run) {
  PrecisionPlan plan;  // read first: a bad file is told before anything is trained
  if (!o.plan.empty()) plan = read_precision_plan(o.plan, int64_t(lab.base.model->blocks().size()), widths);
  for (int bits : widths) {
    rows[bits].rounded.push_back(rounded_loss(lab, bits, false));
    rows[bits].best_step.push_back(rounded_loss(lab, bits, true));
    if (bits == 6) continue;  // lies between its neighbours
    const auto model = lab.fresh();
    SwitchableModel alone = make_switchable(*model, {.widths = {bits}});
    SwitchableTraining training = training_of(o, lab.seed);
    training.strategy = SwitchStrategy::Joint;
    train(lab, alone, training, fmt::format("seed {}, {} bits alone", lab.seed, bits));
    rows[bits].separate.push_back(loss_at(lab, alone, bits));
  }
  const auto model = lab.fresh();
  SwitchableModel joint = make_switchable(*model, {.widths = widths});
  train(lab, joint, training_of(o, lab.seed), fmt::format("seed {}, all widths", lab.seed));
  save_switchable(joint, *lab.base.tokenizer, run.path("model"));
  const LoadedSwitchable loaded = load_switchable(run.path("model"), lab.context.device);
  bool same = true;
  for (int bits : widths) {
    rows[bits].joint.push_back(loss_at(lab, joint, bits));
    same = same && loss_at(lab, *loaded.switchable, bits) == rows[bits].joint.back();
  }
  lab.context.claim(same,
                    fmt::format("seed {}: the saved model gives the same loss at every width", lab.seed));
  if (o.plan.empty()) return;
  joint.set_plan(plan);
  print(fmt::format("seed {}: the plan {} gives {:.3f} nats\n", lab.seed, o.plan, lab.loss(*model)));
}

static void check_claims(const ByWidth& rows, Results& results) {
  for (const auto& [bits, bar] : std::map<int, double>{{2, 0.2}, {4, 0.05}, {8, 0.05}}) {
    const std::vector<double> gap = difference(rows.at(bits).joint, rows.at(bits).separate);
    results.claim(highest(gap) <= bar,
                  fmt::format("at {} bits the one model is within {} nats of one trained for it", bits, bar),
                  spread(gap));
  }
  for (int bits : {2, 4}) {
    const std::vector<double> gain = difference(rows.at(bits).best_step, rows.at(bits).joint);
    results.claim(lowest(gain) > 0, fmt::format("at {} bits it is better than rounding after training", bits),
                  spread(gain));
  }
  const auto &two = rows.at(2).joint, &four = rows.at(4).joint, &eight = rows.at(8).joint;
  results.claim(lowest(difference(two, four)) >= 0 && lowest(difference(four, eight)) >= -0.005,
                "more bits are no worse: loss(8) <= loss(4) <= loss(2)",
                spread(two) + ", " + spread(four) + ", " + spread(eight));
}

static LinePlot plot_of(const ByWidth& rows) {
  LinePlot plot{.title = "One set of weights at every width",
                .x = {.label = "bits of the weights"},
                .y = {.label = "nats per token"}};
  const auto add = [&](const std::string& name, std::vector<double> Row::*column, bool dashed) {
    Series series{.name = name, .x = {}, .y = {}, .points = true, .dashed = dashed};
    for (const auto& [bits, row] : rows) {
      const std::vector<double>& values = row.*column;
      if (values.empty()) continue;
      series.x.push_back(bits), series.y.push_back(mean_of(values));
      series.low.push_back(lowest(values)), series.high.push_back(highest(values));
    }
    plot.series.push_back(series);
  };
  add("one model for all widths", &Row::joint, false);
  add("one model for each width", &Row::separate, true);
  add("rounded after training, best step", &Row::best_step, false);
  return plot;
}

static Table width_table(const ByWidth& rows) {
  Table table{
      .header = {"bits", "rounded", "rounded, best step", "trained alone", "one model", "one model - alone"}};
  for (const auto& [bits, row] : rows)
    table.rows.push_back({std::to_string(bits), spread(row.rounded), spread(row.best_step),
                          spread(row.separate), spread(row.joint),
                          spread(difference(row.joint, row.separate))});
  return table;
}

static int run(const SwitchableLabOptions& o, Context& context) {
  Results results(context, o.out, "One GPT-2 at 2 to 16 bits",
                  fmt::format("{} seeds, {} steps from {}", o.seeds, o.steps, o.base));
  ByWidth rows;
  Table compared;
  for (int64_t i = 0; i < o.seeds; ++i) {
    QatLab lab(o.base, context.seed + uint64_t(i), context);
    measure(lab, o, rows, results.folder);
    if (o.compare && i == 0) compared = comparison(lab, o);
  }
  results.table(
      "Nats per token", width_table(rows),
      "8-bit activations wherever weights have less than 16 bits; spread: smallest and largest seed.");
  results.plot("widths", plot_of(rows), "Bars: spread over the seeds.");
  results.table("The papers' numbers",
                {.header = {"InstantNet, CIFAR-100 top-1", "4", "8", "12", "16", "32"},
                 .rows = {{"trained alone (SBM)", "70.55", "74.40", "74.87", "75.03", "75.23"},
                          {"one model (CDT)", "71.15", "75.12", "75.03", "75.22", "74.98"}}},
                "MobileNetV2. Another task, another network: only the ordering can be compared.");
  if (o.compare)
    results.table("Other ways to train it, one seed", compared,
                  "Equal numbers of passes through the network. Reported, not claimed.");
  check_claims(rows, results);
  for (const auto& [bits, row] : rows)
    context.result[std::to_string(bits)] = {{"joint", row.joint}, {"separate", row.separate}};
  return results.save();
}

int main(int argc, char** argv) {
  SwitchableLabOptions o;
  return run_program(
      argc, argv,
      {.name = "switchable_precision",
       .about = "trains one GPT-2 that runs at 2, 4, 6, 8 and 16 bits",
       .example = "build/bin/switchable_precision --seed 1",
       .flags =
           [&](Flags& flags) {
             flags.add("--base", &o.base, "training preset of the float model to start from");
             flags.add("--out", &o.out, "folder of the run");
             flags.add("--seeds", &o.seeds, "how many seeds, from --seed on").between(1, 100);
             flags.add("--steps", &o.steps, "updates of each training").at_least(1);
             flags.add("--lr", &o.lr, "peak learning rate of the weights").between(0, 1);
             flags.add("--step-lr", &o.step_lr, "peak learning rate of the quantizer's steps").between(0, 1);
             flags.add("--strategy", &o.strategy, "which widths train in a step").one_of(strategies);
             flags.add("--distillation", &o.distillation, "what the lower widths learn from")
                 .one_of(distillations);
             flags.add("--plan", &o.plan,
                       "JSON file with bits per layer: evaluate the trained model so, too");
             flags.add("--compare", &o.compare, "also train with every teacher and strategy (one seed)");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
