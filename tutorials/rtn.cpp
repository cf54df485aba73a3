// Round-to-nearest on a trained model, rung by rung: fewer bits, smaller groups, other grids. papers/quantization/rtn.md

#include "papers/quantization/rtn.h"

#include "tutorials/support/measured_model.h"
#include "tutorials/support/method_table.h"
#include "tutorials/support/results.h"

using namespace chalk;

struct Options {
  ModelChoice choice;
  std::string out = "runs/rtn";
  int64_t seeds = 1, group = 64;
};

static std::vector<Rung> make_rungs(const Options& o) {
  std::vector<Rung> rungs;
  for (int bits : {8, 4, 3, 2}) rungs.push_back({fmt::format("{} bits, row", bits), {.bits = bits}});
  for (int bits : {4, 3}) {
    for (const Rung& rung : granularity_ladder(bits, {o.group, 32})) {
      if (rung.name != "row") rungs.push_back({fmt::format("{} bits, {}", bits, rung.name), rung.quantizer});
    }
  }
  for (const Rung& rung : grid_ladder(3, -1)) rungs.push_back({"3 bits, row, " + rung.name, rung.quantizer});
  return rungs;
}

// Writes the rounded model as a GPTQ folder, whose version 2 can say every zero, and puts the float layers back.
static int64_t save_rounded(RoundedModel& rounded, MeasuredModel& m, const QuantizerOptions& q,
                            const std::string& folder) {
  std::vector<QuantizedWeight> layers;
  for (const RtnLayer& layer : rounded.layers) layers.push_back({layer.slot, layer.matrix});
  rounded.restore();
  const bool sym = q.grid == Grid::AbsMax || q.grid == Grid::GptqSymmetric;
  const GptqConfig config{
      .bits = q.bits, .group_size = q.group_size > 0 ? q.group_size : -1, .sym = sym, .version = 2};
  save_gptq_model(*m.loaded.model, *m.loaded.tokenizer, layers, config, folder);
  return weight_file_bytes(folder);
}

// Row 0 is the float model, row i + 1 is rung i.
static void measure(MeasuredModel& m, const std::vector<Rung>& rungs, std::vector<MethodRow>& rows,
                    const Options& o, Context& context) {
  LanguageModel& model = *m.loaded.model;
  rows[0].losses.push_back(m.loss(model));
  rows[0].weigh(model, 32);
  save_model(model, *m.loaded.tokenizer, o.out + "/float");
  rows[0].disk = weight_file_bytes(o.out + "/float");
  for (size_t i = 0; i < rungs.size(); ++i) {
    MethodRow& row = rows[i + 1];
    RoundedModel rounded(model, {.quantizer = rungs[i].quantizer});
    row.losses.push_back(m.loss(model));
    row.snr = rounded.signal_to_noise();
    row.weigh(model, 16);
    row.disk = save_rounded(rounded, m, rungs[i].quantizer, o.out + "/rounded");
    context.say(fmt::format("{:<32} {:.4f}", row.name, row.losses.back()));
  }
}

static void check_claims(const std::vector<MethodRow>& rows, Results& results) {
  const auto claim = [&](bool holds, const std::string& text, double difference) {
    results.claim(holds, text, fmt::format("{:+.4f} nats", difference));
  };
  const auto loss = [&](const char* name) { return find_row(rows, name).mean(); };
  const double eight = loss("8 bits, row"), four = loss("4 bits, row"), three = loss("3 bits, row"),
               two = loss("2 bits, row"), full = rows[0].mean();
  claim(std::abs(eight - full) < 0.01, "8 bits change the loss by less than 0.01 nats", eight - full);
  claim(eight <= four && four <= three && three <= two, "every bit less loses more: 8, 4, 3, 2", two - eight);
  claim(three - four > four - eight && two - three > three - four, "each step costs more than the one before",
        two - three);
  claim(loss("3 bits, group 32") <= three, "3 bits: groups of 32 lose less than rows",
        loss("3 bits, group 32") - three);
  claim(three <= loss("3 bits, tensor"), "3 bits: rows lose less than one grid per tensor",
        three - loss("3 bits, tensor"));
}

static int run(const Options& o, Context& context) {
  const std::string subject = o.choice.model.empty() ? o.choice.preset : o.choice.model;
  Results results(context, o.out, "Round-to-nearest, rung by rung",
                  fmt::format("{}, {} seed(s)", subject, o.seeds));
  const std::vector<Rung> rungs = make_rungs(o);
  std::vector<MethodRow> rows = {{.name = "float"}};
  for (const Rung& rung : rungs) rows.push_back({.name = rung.name});
  for (int64_t i = 0; i < o.seeds; ++i) {
    ModelChoice choice = o.choice;
    choice.base_seed += uint64_t(i);
    MeasuredModel m = open_measured_model(choice, context);
    measure(m, rungs, rows, o, context);
  }
  results.table(
      "The ladder", method_table(rows),
      "Bits are per parameter of the whole model: scales, zeros, and embeddings, norms and head in 16 bits.");
  results.plot("cost", method_bars(rows, "What rounding costs"),
               "Mean over the seeds, with the smallest and largest.");
  check_claims(rows, results);
  for (const MethodRow& row : rows) context.result["rows"].push_back(to_json(row));
  return results.save();
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "rtn",
       .about = "rounds a trained model's weights to 8, 4, 3 and 2 bits and measures what is lost",
       .example = "build/bin/rtn --seeds 3",
       .flags =
           [&](Flags& flags) {
             add_model_flags(flags, o.choice);
             flags.add("--out", &o.out, "folder for plots, report and the last rounded model");
             flags.add("--seeds", &o.seeds, "how many base models, from --base-seed on").between(1, 9);
             flags.add("--group", &o.group, "the larger group size").at_least(16);
           },
       .run = [&](Context& context) { return run(o, context); }});
}
