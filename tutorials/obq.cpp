// OBQ, its ancestors and its fast descendant on single layers of the world model: what each does to the layer's output.

#include "models/calibration.h"
#include "nn/group_quant_linear.h"
#include "tutorials/support/obq_lab.h"
#include "tutorials/support/subject.h"

using namespace chalk;

struct Options {
  std::string out = "runs/obq", preset = "world";
  int64_t seeds = 1, tokens = 4096, block = 0, max_columns = 256;
  double sparsity = 0.5;
};

static std::vector<LayerErrors> measure(const Options& o, uint64_t seed, Context& context) {
  const Subject subject = world_subject(o.preset, seed, context);
  BlockWalk walk(*subject.loaded.model, subject.calibration(o.tokens));
  while (walk.index < o.block) walk.advance();
  std::vector<LayerErrors> layers;
  for (const std::vector<std::string>& set : slots_by_input(walk.block())) {
    const SlotInputs inputs = walk.collect({set[0]}).at(set[0]);
    for (const std::string& slot : set) {
      if (inputs.in > o.max_columns) continue;
      layers.push_back(measure_layer(slot, float_linear(find_slot(walk.block(), slot)).weight.to_vector(),
                                     inputs, o.sparsity));
      const LayerErrors& e = layers.back();
      context.say(
          fmt::format("{:<28} 3 bits: rounding {:.2e}, GPTQ {:.2e}, OBQ {:.2e}; half pruned: {:.3f} Damage, "
                      "{:.3f} Surgeon",
                      slot, e.error[Rounding][1], e.error[Gptq][1], e.error[Obq][1], e.damage, e.surgeon));
    }
  }
  return layers;
}

static void check_claims(const Seeds& seeds, Results& results) {
  const auto below = [&](const std::string& what, const Value& value, const Value& unit) {
    const std::vector<double> shares = ratios(seeds, value, unit);
    results.claim(highest(shares) < 1, what, spread(shares));
  };
  for (int i = 0; i < 3; ++i) {
    const std::string bits = fmt::format(" at {} bits", all_bits[i]);
    below("OBQ is below rounding" + bits, error_of(Obq, i), error_of(Rounding, i));
    below("GPTQ is below rounding" + bits, error_of(Gptq, i), error_of(Rounding, i));
  }
  below("Surgeon is below Damage", &LayerErrors::surgeon, &LayerErrors::damage);
}

static int run(const Options& o, Context& context) {
  Results results(context, o.out, "OBQ, OBS, OBD", "one layer at a time");
  Seeds seeds;
  for (int64_t i = 0; i < o.seeds; ++i) seeds.push_back(measure(o, uint64_t(i + 1), context));
  results.table("Quantization", quantization_table(seeds),
                "Squared output error as a share of plain rounding's, summed over the layers. GPTQ and OBQ "
                "are damped by 0.01.");
  results.plot("errors", error_bars(seeds[0]), "Below 1: better than rounding.");
  results.table("Pruning", pruning_table(seeds),
                fmt::format("{:.0f} % of every row's weights deleted.", 100 * o.sparsity));
  double gptq_seconds = 0, obq_seconds = 0;
  for (const LayerErrors& e : seeds[0]) gptq_seconds += e.gptq_seconds, obq_seconds += e.obq_seconds;
  const std::string cost = fmt::format("{} layers, 3 bit widths: GPTQ {}, OBQ {}", seeds[0].size(),
                                       human_duration(gptq_seconds), human_duration(obq_seconds));
  if (!context.json) print(cost + "\n");
  results.report.text(cost);
  check_claims(seeds, results);
  for (const std::vector<LayerErrors>& layers : seeds) {
    for (const LayerErrors& e : layers) {
      Json row = {{"slot", e.slot}, {"damage", e.damage}, {"surgeon", e.surgeon}, {"magnitude", e.magnitude}};
      for (int method = 0; method < method_count; ++method)
        row[method_names[method]] = std::vector<double>(e.error[method], e.error[method] + 3);
      context.result["layers"].push_back(row);
    }
  }
  return results.save();
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "obq",
       .about = "compares OBD, OBS, OBQ, GPTQ and rounding on single layers",
       .example = "build/bin/obq\nbuild/bin/obq --block 3 --seeds 3",
       .flags =
           [&](Flags& flags) {
             flags.add("--out", &o.out, "folder of the run");
             flags.add("--preset", &o.preset, "base model").one_of({"world", "world-small"});
             flags.add("--seeds", &o.seeds, "base models").between(1, 9);
             flags.add("--tokens", &o.tokens, "positions of sample text").at_least(1);
             flags.add("--block", &o.block, "of the model, from 0").between(0, 3);
             flags.add("--max-columns", &o.max_columns, "leave wider layers out: OBQ is cubic").at_least(1);
             flags.add("--sparsity", &o.sparsity, "share of the weights to prune").between(0, 1);
           },
       .run = [&](Context& context) { return run(o, context); }});
}
