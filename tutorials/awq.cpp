// AWQ on the world model: what rounding to 3 bits costs once activations have outliers, and what scaling gets back.

#include "models/io/awq_format.h"
#include "models/load.h"
#include "models/train.h"
#include "tutorials/support/awq_lab.h"
#include "tutorials/support/base_model.h"
#include "tutorials/support/results.h"

using namespace chalk;

struct Options {
  AwqLab lab;
  std::string out = "runs/awq", explain, export_folder, text;
  std::vector<std::string> models;  // instead of base models
  int64_t seeds = 1, rows = 4096, columns = 4096;
};

// 4 bits, whole rows (the world's MLP has 344 inputs, which no usual group divides), in the format that others load.
static void export_model(const std::string& path, const Options& o, const Corpus& corpus, Context& context) {
  const LoadedModel loaded = load_model(path, o.lab.tokenizer, context.device);
  const Batch batch = corpus.train(0);
  const AwqResult result =
      quantize_awq(*loaded.model, {{batch.B, batch.T}, batch.ids}, {.bits = 4, .group_size = -1});
  save_awq_model(*loaded.model, *loaded.tokenizer, result.layers, o.export_folder);
  const LoadedModel again = load_model(o.export_folder, o.lab.tokenizer, context.device);
  const int64_t batches = std::min(o.lab.batches, corpus.validation_batches);
  const double saved = validation_loss(*loaded.model, batches, corpus.validation);
  const double read = validation_loss(*again.model, batches, corpus.validation);
  context.claim(std::abs(saved - read) < 2e-3, "the exported folder loads as the same model (fp16 floats)",
                fmt::format("loss {:.4f}, read back {:.4f}", saved, read));
  context.say("AWQ checkpoint: " + o.export_folder);
}

static void check_claims(const std::vector<AwqMeasurement>& all, Results& results) {
  double moved = 0, margin = INFINITY;
  int interior = 0, groups = 0;
  bool searched = true;
  for (const AwqMeasurement& m : all) {
    moved = std::max(moved, std::abs(m.loss[1][Float] - m.loss[0][Float]));
    margin = std::min(margin, m.loss[1][Rtn] - m.loss[1][Awq]);
    for (const ScaleSearch& search : m.searches) {
      if (!search.applied || search.input.find("norm") == std::string::npos) continue;
      groups += 1, interior += search.alpha > 0 && search.alpha < search.alphas.back();
      searched = searched && search.loss <= search.losses[0];
    }
  }
  results.claim(moved < 1e-6, "the outliers change no output of the float model",
                fmt::format("loss moved by {:.1e}", moved));
  results.claim(margin > 0, "with outliers, AWQ is below round-to-nearest for every seed",
                fmt::format("smallest gap {:.4f}", margin));
  const double rtn = mean_of(losses_of(all, 1, Rtn)), kept = mean_of(losses_of(all, 1, KeepActivation));
  results.claim(
      kept < rtn && kept < mean_of(losses_of(all, 1, KeepWeight)) &&
          kept < mean_of(losses_of(all, 1, KeepRandom)),
      "keeping the columns of large activations helps more than those of large weights or random ones",
      fmt::format("{:.4f} against {:.4f} and {:.4f}", kept, mean_of(losses_of(all, 1, KeepWeight)),
                  mean_of(losses_of(all, 1, KeepRandom))));
  results.claim(searched, "no chosen scale is worse than rounding on the calibration text",
                fmt::format("{} groups", groups));
  results.report.text(
      fmt::format("Of the {} groups that outliers enter, {} have their best alpha strictly inside 0 … 0.95.",
                  groups, interior));
}

static int run(const Options& o, Context& context) {
  if (!o.explain.empty()) {
    int64_t row = -1, column = -1;
    if (std::sscanf(o.explain.c_str(), "%ld,%ld", &row, &column) != 2)
      throw UsageError("--explain " + o.explain + ": expected output,input, for example 13,70");
    print(explain_packing(row, column, o.rows, o.columns, o.lab.group));
    return 0;
  }
  TrainSettings settings = training_preset("world");
  settings.documents = 4000;  // calibration needs few
  if (!o.text.empty() && (o.models.empty() || o.lab.tokenizer.empty()))
    throw UsageError("--text needs a --model that knows such text, and its --tokenizer");
  if (!o.text.empty()) settings.corpus = o.text, settings.tokenizer = o.lab.tokenizer, settings.context = 256;
  const Corpus corpus = make_corpus(settings, context.seed);
  std::vector<std::string> paths = o.models;
  for (int64_t seed = 1; o.models.empty() && seed <= o.seeds; ++seed)
    paths.push_back(base_model("world", uint64_t(seed), context).path);
  std::vector<AwqMeasurement> all;
  AwqLab lab = o.lab;
  lab.seed = context.seed;
  for (const std::string& path : paths) all.push_back(measure_awq(path, lab, corpus, context));

  Results results(context, o.out, "AWQ: scaling columns instead of keeping them", all[0].injected);
  results.table(
      "What rounding costs, and what brings it back", loss_table(all, lab),
      fmt::format(
          "{}. {} bits, groups of {}, {} model(s). The paper's column is a perplexity of another, far "
          "larger model: compare the order, not the numbers.",
          all[0].injected, lab.bits, lab.group, all.size()));
  results.plot("loss", loss_bars(all, lab), "Bars: nats added to the float model's loss.");
  results.report.section("The search");
  results.plot("alpha", alpha_plot(all[0]),
               "Solid: groups behind a norm, where the outliers are. Dashed: the others.");
  results.table(
      "Enlarging the salient columns by s", sweep_table(all[0]),
      "First query projection; the paper's numbers are its Table 2 (OPT-6.7B, the top 1 % of the channels).");
  if (!o.export_folder.empty()) export_model(paths[0], o, corpus, context);
  check_claims(all, results);
  for (int row = Float; row <= Duo; ++row) {
    context.result["loss"][method_name(row, lab)] = {mean_of(losses_of(all, 0, row)),
                                                     mean_of(losses_of(all, 1, row))};
  }
  return results.save();
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "awq",
       .about = "activation-aware weight quantization of the world model, with injected outliers, against "
                "rounding",
       .example = "build/bin/awq                        # one base model (trained first if need be)\n"
                  "  build/bin/awq --explain 13,70        # where a weight lives in AutoAWQ's, llm-awq's and "
                  "GPTQ's packing",
       .flags =
           [&](Flags& flags) {
             flags.add("--out", &o.out, "folder of the run");
             flags.add("--seeds", &o.seeds, "how many base models").between(1, 20);
             flags.add("--model", &o.models, "use this model instead of a base model; may be repeated");
             flags.add("--text", &o.text,
                       "calibrate and measure on this file, not on the world (90 % and 10 %)");
             flags.add("--tokenizer", &o.lab.tokenizer, "of --model, where it does not lie beside it");
             flags.add("--bits", &o.lab.bits, "of a weight").between(2, 8);
             flags.add("--group", &o.lab.group, "inputs of a row that share a scale; -1: the whole row")
                 .at_least(-1);
             flags.add("--fraction", &o.lab.fraction, "of the channels become outliers").between(0.001, 0.5);
             flags.add("--factor", &o.lab.factor, "how much larger outliers are").between(1.001, 1000);
             flags.add("--batches", &o.lab.batches, "validation batches of 8 rows").at_least(1);
             flags.add("--export", &o.export_folder,
                       "also write the first model with 4 bits as an AWQ checkpoint");
             flags.add("--explain", &o.explain, "output,input: print where that weight is stored, and stop");
             flags.add("--rows", &o.rows, "outputs of the matrix to explain").at_least(1);
             flags.add("--columns", &o.columns, "inputs of the matrix to explain").at_least(1);
           },
       .run = [&](Context& context) { return run(o, context); }});
}
