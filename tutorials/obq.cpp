// OBQ, its ancestors and its fast descendant on single layers of the world model: what each does to the layer's output.

#include "papers/quantization/obq.h"

#include <chrono>

#include "papers/quantization/gptq.h"
#include "tutorials/support/results.h"
#include "tutorials/support/subject.h"

using namespace chalk;

struct Options {
  std::string out = "runs/obq", preset = "world";
  int64_t seeds = 1, tokens = 4096, block = 0, max_columns = 256;
  double sparsity = 0.5;
};

enum Method { Rounding, Gptq, Obq, ObqPlain, method_count };
static const char* const method_names[] = {"rounding", "GPTQ", "OBQ", "OBQ without outlier rule"};
static const int all_bits[] = {4, 3, 2};

// Output errors of one layer, as shares of the output's own square.
struct LayerErrors {
  std::string slot;
  double error[method_count][3];  // by bits
  double damage, surgeon, magnitude;
  double gptq_seconds = 0, obq_seconds = 0;
};

static double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Rows of w pruned one by one; `pruner` null: the smallest weights, nothing repaired.
static std::vector<float> pruned(const std::vector<float>& w, const std::vector<double>& h, int64_t C,
                                 double sparsity, const obq::Pruner* pruner) {
  std::vector<float> result = w;
  const int64_t R = int64_t(w.size()) / C, count = int64_t(sparsity * double(C));
  std::vector<double> identity(size_t(C * C));
  for (int64_t i = 0; i < C; ++i) identity[size_t(i * C + i)] = 1;
  cpu::parallel_for(R, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::vector<double> row(w.begin() + r * C, w.begin() + (r + 1) * C);
      obq::prune_row(row, pruner ? h : identity, count, pruner ? *pruner : obq::Pruner::Damage);
      std::copy(row.begin(), row.end(), result.begin() + r * C);
    }
  });
  return result;
}

static LayerErrors measure_layer(const std::string& slot, const std::vector<float>& w,
                                 const SlotInputs& inputs, const Options& o) {
  const int64_t C = inputs.in, R = int64_t(w.size()) / C;
  const std::vector<double> h = obq::hessian_of(inputs.x.data(), inputs.tokens, C);
  gptq::Hessian hessian(C);
  hessian.add(inputs.x.data(), inputs.tokens);
  const double whole = obq::output_error(w.data(), std::vector<float>(w.size()), h, R, C);
  const auto share = [&](const std::vector<float>& changed) {
    return obq::output_error(w.data(), changed, h, R, C) / whole;
  };
  LayerErrors e{.slot = slot, .error = {}, .damage = 0, .surgeon = 0, .magnitude = 0};
  for (int i = 0; i < 3; ++i) {
    const QuantizerOptions quantizer{.bits = all_bits[i]};
    e.error[Rounding][i] = share(dequantize(round_to_nearest(w.data(), R, C, quantizer)));
    e.gptq_seconds += seconds_of([&] {
      const gptq::Options options{.quantizer = quantizer};
      e.error[Gptq][i] = share(
          dequantize(gptq::quantize(w.data(), R, C, gptq::factor_hessian(hessian, options), options).weight));
    });
    e.obq_seconds += seconds_of([&] {
      e.error[Obq][i] = share(
          dequantize(obq::quantize(w.data(), R, C, h, {.quantizer = quantizer, .damping = 0.01}).weight));
    });
    const obq::Options plain{.quantizer = quantizer, .outlier_rule = false, .damping = 0.01};
    e.error[ObqPlain][i] = share(dequantize(obq::quantize(w.data(), R, C, h, plain).weight));
  }
  const obq::Pruner damage = obq::Pruner::Damage, surgeon = obq::Pruner::Surgeon;
  e.magnitude = share(pruned(w, h, C, o.sparsity, nullptr));
  e.damage = share(pruned(w, h, C, o.sparsity, &damage));
  e.surgeon = share(pruned(w, h, C, o.sparsity, &surgeon));
  return e;
}

static std::vector<LayerErrors> measure(const Options& o, uint64_t seed, Context& context) {
  const Subject subject = world_subject(o.preset, seed, context);
  BlockWalk walk(*subject.loaded.model, subject.calibration(o.tokens));
  while (walk.index < o.block) walk.advance();
  std::vector<LayerErrors> layers;
  for (const std::vector<std::string>& set : slots_by_input(walk.block())) {
    const SlotInputs inputs = walk.collect({set[0]}).at(set[0]);
    for (const std::string& slot : set) {
      if (inputs.in > o.max_columns) continue;
      layers.push_back(
          measure_layer(slot, float_linear(find_slot(walk.block(), slot)).weight.to_vector(), inputs, o));
      const LayerErrors& e = layers.back();
      context.say(
          fmt::format("{:<28} 3 bits: rounding {:.2e}, GPTQ {:.2e}, OBQ {:.2e}; half pruned: {:.3f} Damage, "
                      "{:.3f} Surgeon",
                      slot, e.error[Rounding][1], e.error[Gptq][1], e.error[Obq][1], e.damage, e.surgeon));
    }
  }
  return layers;
}

// ---- what is shown ----

using Value = std::function<double(const LayerErrors&)>;

// Sum of `value` over a seed's layers, divided by that of `unit`: one number per seed.
static std::vector<double> ratios(const std::vector<std::vector<LayerErrors>>& seeds, const Value& value,
                                  const Value& unit) {
  std::vector<double> result;
  for (const std::vector<LayerErrors>& layers : seeds) {
    double sum = 0, whole = 0;
    for (const LayerErrors& e : layers) sum += value(e), whole += unit(e);
    result.push_back(sum / whole);
  }
  return result;
}

static Value error_of(int method, int i) {
  return [=](const LayerErrors& e) { return e.error[method][i]; };
}

static Table quantization_table(const std::vector<std::vector<LayerErrors>>& seeds) {
  Table table{.header = {"method", "4 bits", "3 bits", "2 bits", "paper, OPT-125M perplexity: 4 bits",
                         "3 bits", "paper, ResNet-18 top-1: 4 bits", "3 bits"}};
  const char* theirs[][4] = {{"37.28", "1300", "-", "-"},
                             {"31.12", "53.85", "69.37", "67.88"},
                             {"32.52", "69.32", "69.56", "68.69"},
                             {"-", "-", "-", "-"}};
  for (int method = 0; method < method_count; ++method) {
    std::vector<std::string> row = {method_names[method]};
    for (int i = 0; i < 3; ++i)
      row.push_back(spread(ratios(seeds, error_of(method, i), error_of(Rounding, i))));
    row.insert(row.end(), std::begin(theirs[method]), std::end(theirs[method]));
    table.rows.push_back(row);
  }
  return table;
}

static Table pruning_table(const std::vector<std::vector<LayerErrors>>& seeds) {
  Table table{.header = {"pruner", "output error / Damage's"}};
  const auto row = [&](const std::string& name, const Value& value) {
    table.rows.push_back({name, spread(ratios(seeds, value, &LayerErrors::damage))});
  };
  row("smallest weights", &LayerErrors::magnitude);
  row("Damage: smallest h·w²", &LayerErrors::damage);
  row("Surgeon: repaired", &LayerErrors::surgeon);
  return table;
}

static BarChart error_bars(const std::vector<LayerErrors>& layers) {
  BarChart chart{.title = "Squared output error at 3 bits",
                 .subtitle = "shares of plain rounding's, by layer"};
  for (int method : {Rounding, Gptq, Obq}) {
    BarSeries bars{.name = method_names[method], .values = {}};
    for (const LayerErrors& e : layers) bars.values.push_back(e.error[method][1] / e.error[Rounding][1]);
    chart.series.push_back(bars);
  }
  for (const LayerErrors& e : layers) chart.categories.push_back(e.slot);
  return chart;
}

static void check_claims(const std::vector<std::vector<LayerErrors>>& seeds, Results& results) {
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
  std::vector<std::vector<LayerErrors>> seeds;
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
