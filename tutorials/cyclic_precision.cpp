// CPT: a GPT-2 trained from nothing while its precision cycles between few and many bits, against the same
// training at a
// constant precision. The method is papers/qat/cyclic_precision.h; its page lies beside it.

#include "tutorials/support/cyclic_precision_lab.h"

using namespace chalk;

static std::vector<CyclicRun> runs_of(const CyclicLabOptions& o) {
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

static int run(const CyclicLabOptions& o, Context& context) {
  Results results(context, o.out, "Cyclic precision training",
                  fmt::format("{} seeds, {} steps from nothing, {}", o.seeds, o.steps, o.preset));
  std::vector<CyclicRun> runs = runs_of(o);
  const CyclicRun &still = runs[1], &low = runs[2], &cyclic = runs[3];
  cyclic.schedule.period();  // refuses an impossible schedule before anything is trained
  RangeTest test;
  for (int64_t i = 0; i < o.seeds; ++i) {
    CyclicLab lab(o, context, context.seed + uint64_t(i));
    if (i == 0) {
      TrainOptions first_steps = lab.settings.train;
      first_steps.warmup = 0;
      test = precision_range_test([&] { return lab.fresh(); }, first_steps, {.backward_bits = o.backward},
                                  lab.corpus.train);
      context.say("range test:\n" + to_text(table_of(test)));
    }
    for (CyclicRun& r : runs) train(lab, r);
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
  for (const CyclicRun& r : runs) context.result[r.name] = {{"loss", r.loss}, {"bit_operations", r.cost}};
  return results.save();
}

int main(int argc, char** argv) {
  CyclicLabOptions o;
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
