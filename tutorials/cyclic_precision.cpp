// CPT: a GPT-2 trained from nothing while its precision cycles between few and many bits, against the same
// training at a
// constant precision. The method is papers/qat/cyclic_precision.h; its page lies beside it.

#include "papers/qat/cyclic_precision.h"

#include "tutorials/support/over_seeds.h"
#include "tutorials/support/progress.h"
#include "tutorials/support/report.h"
#include "tutorials/support/run_folder.h"
#include "tutorials/support/training.h"

using namespace chalk;

struct Options {
  std::string preset = "world-gpt2", out = "runs/cyclic_precision", optimizer = "adamw";
  int64_t seeds = 1, steps = 800, cycles = 32, static_steps = 160;
  int low = 3, high = 8, backward = 8;
  double lr = 2e-3;
};

// One way to train: its widths, and what came of it over the seeds.
struct Run {
  std::string name;
  CyclicSchedule schedule;
  int backward_bits;
  OverSeeds loss = {}, cost = {};  // nats per token at the last width; steps of 32-bit training
  Series curve = {};               // validation loss at `high` bits on the way, first seed
};

static std::vector<Run> runs_of(const Options& o) {
  const CyclicSchedule cyclic{
      .low = o.low, .high = o.high, .cycles = o.cycles, .total = o.steps, .static_steps = o.static_steps};
  CyclicSchedule shuffled = cyclic;
  shuffled.shape = CycleShape::Shuffled;
  const auto constant = [&](int bits) {
    return CyclicSchedule{.low = bits, .high = bits, .cycles = 1, .total = o.steps};
  };
  return {{"float", constant(32), 32},
          {fmt::format("static {}", o.high), constant(o.high), o.backward},
          {fmt::format("static {}", o.low), constant(o.low), o.backward},
          {fmt::format("CPT {}-{}", o.low, o.high), cyclic, o.backward},
          {"shuffled, same widths", shuffled, o.backward}};
}

struct Lab {
  const Options& options;
  Context& context;
  uint64_t seed;
  TrainSettings settings;
  Corpus corpus;

  Lab(const Options& o, Context& c, uint64_t seed)
      : options(o), context(c), seed(seed), settings(training_preset(o.preset)) {
    settings.documents = 20000;
    settings.train.optimizer = o.optimizer, settings.train.lr = o.lr;
    settings.train.steps = o.steps, settings.train.seed = seed;
    corpus = make_corpus(settings, seed);
  }
  std::unique_ptr<LanguageModel> fresh() {
    return make_fresh_model(settings, *corpus.tokenizer, seed, context.device);
  }
  double loss(LanguageModel& model, int64_t batches) {
    return validation_loss(model, std::min(batches, corpus.validation_batches), corpus.validation);
  }
};

// Trains one run and evaluates it at its last width.
static void train(Lab& lab, Run& run) {
  const auto model = lab.fresh();
  CyclicModel cyclic = make_cyclic(*model);
  Trainer trainer(*model, lab.settings.train);
  Progress progress(fmt::format("seed {}, {}", lab.seed, run.name), 0, lab.options.steps, lab.context.quiet);
  for (int64_t i = 0; i < lab.options.steps; ++i) {
    const StepResult step =
        cyclic_train_step(cyclic, trainer, run.schedule, run.backward_bits, lab.corpus.train);
    progress.step(i + 1, {.loss = step.loss, .tokens = step.tokens});
    if (run.loss.values.empty() && (i + 1) % std::max<int64_t>(1, lab.options.steps / 16) == 0) {
      cyclic.set_precision(run.schedule.high,
                           16);  // one width for all points, or the curve would be a sawtooth
      run.curve.x.push_back(double(i + 1)), run.curve.y.push_back(lab.loss(*model, 5));
    }
  }
  cyclic.set_precision(run.schedule.bits(lab.options.steps - 1), 16);
  run.loss.add(lab.loss(*model, 40));
  run.cost.add(total_cost(run.schedule, run.backward_bits));
}

static std::string percent(double part, double whole) {
  return fmt::format("{:+.1f} %", 100 * (part / whole - 1));
}

// The loss after the same few steps at each width.
static Table table_of(const RangeTest& test) {
  Table table{.header = {"bits"}, .rows = {{"training loss after 20 steps"}}};
  for (size_t i = 0; i < test.bits.size(); ++i) {
    table.header.push_back(std::to_string(test.bits[i]));
    table.rows[0].push_back(fmt::format("{:.3f}", test.losses[i]));
  }
  return table;
}

static int run(const Options& o, Context& context) {
  const RunFolder folder(o.out, true);
  folder.write_config(context);
  std::vector<Run> runs = runs_of(o);
  runs[3].schedule.period();  // refuses an impossible schedule before anything is trained
  RangeTest test;
  for (int64_t i = 0; i < o.seeds; ++i) {
    Lab lab(o, context, context.seed + uint64_t(i));
    if (i == 0) {
      TrainOptions first_steps = lab.settings.train;
      first_steps.warmup = 0;
      test = precision_range_test([&] { return lab.fresh(); }, first_steps, {.backward_bits = o.backward},
                                  lab.corpus.train);
      context.say("range test:\n" + to_text(table_of(test)));
    }
    for (Run& r : runs) train(lab, r);
  }
  const Run &still = runs[1], &lowest = runs[2], &cyclic = runs[3];
  Table table{
      .header = {"training", "nats per token", "minus static high", "bit operations", "against static high"}};
  for (const Run& r : runs) {
    table.rows.push_back({r.name, r.loss.text(), difference(r.loss, still.loss).text(),
                          fmt::format("{:.2f}", r.cost.mean()), percent(r.cost.mean(), still.cost.mean())});
  }
  const Table paper{.header = {"paper", "CPT", "static", "bit operations"},
                    .rows = {{"Transformer, WikiText-103 perplexity, 4-8/8", "30.22", "31.77", "-30.2 %"},
                             {"Transformer, WikiText-103 perplexity, 4-6/8", "31.0", "32.41", "-22.4 %"},
                             {"LSTM, PTB perplexity, 5-8/8", "96.39", "96.95", "-23.2 %"},
                             {"ResNet-38, CIFAR-100 accuracy, 3-8/8", "+0.44", "0", "-36.7 %"}}};
  LinePlot widths{.title = "Precision over the steps",
                  .x = {.label = "step"},
                  .y = {.label = "bits of weights and activations"}};
  LinePlot curves{.title = "Loss above " + still.name + " bits while training",
                  .x = {.label = "step"},
                  .y = {.label = "nats per token"}};
  Series bits{.name = cyclic.name, .x = {}, .y = {}, .steps = true};
  for (int64_t t = 0; t < o.steps; ++t)
    bits.x.push_back(double(t)), bits.y.push_back(cyclic.schedule.bits(t));
  widths.series = {bits};
  for (const Run& r : runs) {
    if (&r == &still) continue;
    curves.series.push_back({.name = r.name, .x = r.curve.x, .y = {}});
    for (size_t i = 0; i < r.curve.y.size(); ++i)
      curves.series.back().y.push_back(r.curve.y[i] - still.curve.y[i]);
  }

  Report report("Cyclic precision training",
                fmt::format("{} seeds, {} steps from nothing, {}", o.seeds, o.steps, o.preset));
  report.section("Loss and cost");
  report.table(table, "Bit operations in steps of 32-bit training (E5); spread: smallest and largest seed.");
  report.plot(curves, "First seed, five validation batches; every run is evaluated at its own high bound.");
  report.plot(widths, "Cycles, then a static phase.");
  report.section("Precision range test");
  report.table(table_of(test),
               fmt::format("B_min = {}, B_max = {} at a threshold of 0.01 nats.", test.low, test.high));
  report.section("The paper's numbers");
  report.table(paper, "Other models, other data, 32 cycles: compare the differences, not the values.");
  save_png(curves, folder.path("plots/loss.png"));
  save_png(widths, folder.path("plots/bits.png"));
  print(to_text(table) + "\n" + to_text(table_of(test)) +
        fmt::format("range test: B_min = {}, B_max = {}\n\n", test.low, test.high) + to_text(paper));

  report.section("Claims");
  const auto claim = [&](bool holds, const std::string& text, const std::string& measured) {
    context.claim(holds, text, measured);
    report.claim(holds, text, measured);
  };
  const OverSeeds gap = difference(cyclic.loss, still.loss), gain = difference(lowest.loss, cyclic.loss);
  claim(gap.max() <= 0.05, fmt::format("CPT ends within 0.05 nats of static {} bits at equal steps", o.high),
        gap.text());
  claim(cyclic.cost.mean() < still.cost.mean(), "it takes fewer bit operations",
        percent(cyclic.cost.mean(), still.cost.mean()));
  claim(gain.min() > 0, fmt::format("it ends below static {} bits", o.low), gain.text());
  report.environment(context);
  report.save(folder.path("report.html"));
  for (const Run& r : runs)
    context.result[r.name] = {{"loss", r.loss.values}, {"bit_operations", r.cost.mean()}};
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "cyclic_precision",
       .about = "trains a GPT-2 whose precision cycles, against constant precision",
       .example = "build/bin/cyclic_precision --seed 1",
       .flags =
           [&](Flags& flags) {
             flags.add("--preset", &o.preset, "training preset: sizes, text, batch");
             flags.add("--out", &o.out, "folder of the run");
             flags.add("--seeds", &o.seeds, "how many seeds, from --seed on").between(1, 100);
             flags.add("--steps", &o.steps, "updates of each training").at_least(1);
             flags.add("--cycles", &o.cycles, "precision cycles").at_least(1);
             flags.add("--static-steps", &o.static_steps, "updates at the end held at --high").at_least(0);
             flags.add("--low", &o.low, "B_min").between(2, 15);
             flags.add("--high", &o.high, "B_max").between(2, 15);
             flags.add("--backward", &o.backward, "bits of the output gradients").between(2, 32);
             flags.add("--optimizer", &o.optimizer, "adamw, sgd or muon").one_of({"adamw", "muon", "sgd"});
             flags.add("--lr", &o.lr, "peak learning rate").between(0, 10);
           },
       .run = [&](Context& context) { return run(o, context); }});
}
