// CPT: a GPT-2 trained from nothing while its precision cycles between few and many bits, against the same
// training at a
// constant precision. The method is papers/qat/cyclic_precision.h; its page lies beside it.

#include "papers/qat/cyclic_precision.h"

#include "tutorials/support/progress.h"
#include "tutorials/support/results.h"
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
  std::vector<double> loss = {};  // nats per token at the last width, one per seed
  double cost = 0;                // steps of 32-bit training
  Series curve = {};              // validation loss at `high` bits on the way, first seed
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

static Table result_table(const std::vector<Run>& runs, const Run& still) {
  Table table{
      .header = {"training", "nats per token", "minus static high", "bit operations", "against static high"}};
  for (const Run& r : runs) {
    table.rows.push_back({r.name, spread(r.loss), spread(difference(r.loss, still.loss)),
                          fmt::format("{:.2f}", r.cost), percent(r.cost, still.cost)});
  }
  return table;
}

static LinePlot loss_plot(const std::vector<Run>& runs, const Run& still) {
  LinePlot plot{.title = "Loss above " + still.name + " bits while training",
                .x = {.label = "step"},
                .y = {.label = "nats per token"}};
  for (const Run& r : runs) {
    if (&r != &still)
      plot.series.push_back({.name = r.name, .x = r.curve.x, .y = difference(r.curve.y, still.curve.y)});
  }
  return plot;
}

static LinePlot bits_plot(const Run& run, int64_t steps) {
  Series bits{.name = run.name, .x = {}, .y = {}, .steps = true};
  for (int64_t t = 0; t < steps; ++t) bits.x.push_back(double(t)), bits.y.push_back(run.schedule.bits(t));
  return {.title = "Precision over the steps",
          .x = {.label = "step"},
          .y = {.label = "bits of weights and activations"},
          .series = {bits}};
}

static int run(const Options& o, Context& context) {
  Results results(context, o.out, "Cyclic precision training",
                  fmt::format("{} seeds, {} steps from nothing, {}", o.seeds, o.steps, o.preset));
  std::vector<Run> runs = runs_of(o);
  const Run &still = runs[1], &low = runs[2], &cyclic = runs[3];
  cyclic.schedule.period();  // refuses an impossible schedule before anything is trained
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
  results.table("Loss and cost", result_table(runs, still),
                "Bit operations in steps of 32-bit training (E5); spread: smallest and largest seed.");
  results.plot("loss", loss_plot(runs, still),
               "First seed, five validation batches; every run is evaluated at its own high bound.");
  results.plot("bits", bits_plot(cyclic, o.steps), "Cycles, then a static phase.");
  results.table("Precision range test", table_of(test),
                fmt::format("B_min = {}, B_max = {} at a threshold of 0.01 nats.", test.low, test.high));
  results.table("The paper's numbers",
                {.header = {"paper", "CPT", "static", "bit operations"},
                 .rows = {{"Transformer, WikiText-103 perplexity, 4-8/8", "30.22", "31.77", "-30.2 %"},
                          {"Transformer, WikiText-103 perplexity, 4-6/8", "31.0", "32.41", "-22.4 %"},
                          {"LSTM, PTB perplexity, 5-8/8", "96.39", "96.95", "-23.2 %"},
                          {"ResNet-38, CIFAR-100 accuracy, 3-8/8", "+0.44", "0", "-36.7 %"}}},
                "Other models, other data, 32 cycles: compare the differences, not the values.");
  const std::vector<double> gap = difference(cyclic.loss, still.loss),
                            gain = difference(low.loss, cyclic.loss);
  results.claim(highest(gap) <= 0.05,
                fmt::format("CPT ends within 0.05 nats of static {} bits at equal steps", o.high),
                spread(gap));
  results.claim(cyclic.cost < still.cost, "it takes fewer bit operations", percent(cyclic.cost, still.cost));
  results.claim(lowest(gain) > 0, fmt::format("it ends below static {} bits", o.low), spread(gain));
  for (const Run& r : runs) context.result[r.name] = {{"loss", r.loss}, {"bit_operations", r.cost}};
  return results.save();
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
