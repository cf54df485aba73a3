// GPTQ on the world model and on stories260K: perplexity at 4, 3 and 2 bits beside plain rounding, and a folder that others
// can load.

#include "models/io/file.h"
#include "models/load.h"
#include "tutorials/support/gptq_report.h"
#include "tutorials/support/subject.h"

using namespace chalk;

struct Options {
  std::string out = "runs/gptq", preset = "world";
  std::string model, tokenizer, text;  // another model than the base models, on its own text
  int64_t seeds = 1, tokens = 16384, evaluation = 24576, block = 128;
  double damping = 0.01;
};

static gptq::Options options_of(const Options& o, const Setting& s, int method,
                                Grid grid = Grid::GptqAsymmetric) {
  return {.quantizer = {.bits = s.bits, .grid = grid, .group_size = s.group},
          .damping = o.damping,
          .block_size = o.block,
          .act_order = method == Ordered,
          .true_sequential = method == Ordered,
          .half_scales = true};
}

static Measured measure(const Subject& s, const Options& o, Context& context) {
  Measured m;
  m.full = s.loss(*s.loaded.model, o.evaluation);
  const Checkpoint original = to_checkpoint(*s.loaded.model);
  for (const Setting& setting : gptq_settings) {
    for (int method = 0; method < method_count; ++method) {
      const std::unique_ptr<LanguageModel> model = make_model(original, context.device);
      const gptq::Options options = options_of(o, setting, method);
      if (method == Rtn) round_blocks(*model, options.quantizer);
      if (method != Rtn) {
        const gptq::ModelResult result = gptq::quantize_model(*model, s.calibration(o.tokens), options);
        if (method == Gptq) m.reports.push_back(result.reports);
        for (const gptq::LayerReport& r : result.reports) {
          if (r.raises > 0) context.say(fmt::format("{}: damping raised to {}", r.slot, r.damping));
        }
      }
      m.loss[method].push_back(s.loss(*model, o.evaluation));
    }
    context.say(fmt::format(
        "{:<12} {} bits, group {:>3}: perplexity {:.3f} rounded, {:.3f} GPTQ, {:.3f} ordered; float {:.3f}",
        s.name, setting.bits, setting.group, m.ppl(Rtn, m.loss[Rtn].size() - 1),
        m.ppl(Gptq, m.loss[Gptq].size() - 1), m.ppl(Ordered, m.loss[Ordered].size() - 1), std::exp(m.full)));
  }
  return m;
}

static void check_claims(const std::string& subject, const std::vector<Measured>& all, Results& results) {
  const auto claim = [&](const std::string& what, const std::function<bool(const Measured&)>& holds) {
    const int64_t yes = std::count_if(all.begin(), all.end(), holds);
    results.claim(yes == int64_t(all.size()), subject + ": " + what,
                  fmt::format("{} of {} seeds", yes, all.size()));
  };
  enum { row4, group4, row3, group3_64, group3, row2, group2_64, group2 };  // of gptq_settings
  claim("GPTQ is below rounding at 3 bits",
        [](const Measured& m) { return m.loss[Gptq][row3] < m.loss[Rtn][row3]; });
  claim("GPTQ is below rounding at 2 bits",
        [](const Measured& m) { return m.loss[Gptq][row2] < m.loss[Rtn][row2]; });
  claim("groups of 32 help GPTQ at 3 bits",
        [](const Measured& m) { return m.loss[Gptq][group3] < m.loss[Gptq][row3]; });
  claim("groups of 32 help GPTQ at 2 bits",
        [](const Measured& m) { return m.loss[Gptq][group2] < m.loss[Gptq][row2]; });
  claim("every layer's output error is below rounding's at 3 bits", [](const Measured& m) {
    return std::all_of(m.reports[row3].begin(), m.reports[row3].end(),
                       [](const gptq::LayerReport& r) { return r.error < r.rtn_error; });
  });
}

// A folder in AutoGPTQ's format, read back and measured.
static void save(const Subject& s, const Options& o, Results& results) {
  const Setting setting{4, 32, {}};
  const std::string folder = o.out + "/" + s.name + "-4bit-32g";
  const Checkpoint original = to_checkpoint(*s.loaded.model);
  const std::unique_ptr<LanguageModel> model = make_model(original, results.context.device);
  gptq::ModelResult result = gptq::quantize_model(*model, s.calibration(o.tokens),
                                                  options_of(o, setting, Ordered, Grid::GptqSymmetric));
  const GptqConfig config{.bits = 4, .group_size = 32, .desc_act = true, .damp_percent = o.damping};
  save_gptq_model(*model, *s.loaded.tokenizer, result.layers, config, folder);
  const LoadedModel back = load_model(folder, "", results.context.device);
  const double before = s.loss(*model, o.evaluation), after = s.loss(*back.model, o.evaluation);
  StorageCost cost;
  for (const QuantizedWeight& layer : result.layers) cost += storage_cost(layer.matrix);
  const std::string measured = fmt::format(
      "{:.4f} in memory, {:.4f} from {} ({} bytes of weights, {:.3f} bits per packed weight)", before, after,
      folder, MappedFile(folder + "/model.safetensors").size, cost.effective_bits());
  // Embeddings and norms are halves in the folder: 2⁻¹¹ relative, far below a thousandth of a nat.
  results.claim(std::abs(after - before) < 2e-3, s.name + ": the saved folder is the same model", measured);
}

static void show(const std::string& name, const std::vector<Measured>& all, Results& results) {
  results.table(fmt::format("perplexity of {}, {} seed(s)", name, all.size()), perplexity_table(all),
                "The published figures are of other models and texts: compare the order, not the numbers.");
  results.plot(name + "-loss", loss_plot_of(name, all),
               "Lower is better. Solid: GPTQ. Dashed: round to nearest.");
  results.plot(name + "-layers", layer_bars(all[0].reports[2]),
               "Below 1 GPTQ is better. The diamonds assume uniform, independent rounding errors.");
  check_claims(name, all, results);
  for (size_t i = 0; i < gptq_settings.size(); ++i) {
    for (int method = 0; method < method_count; ++method)
      results.context.result[name][name_of(gptq_settings[i])][method_names[method]] =
          values(all, [&](const Measured& m) { return m.ppl(method, i); });
  }
}

// The models of one seed.
static std::vector<Subject> subjects_of(const Options& o, uint64_t seed, Context& context) {
  std::vector<Subject> subjects;
  if (!o.model.empty()) {
    if (o.text.empty()) throw UsageError("--model needs a --text to calibrate and measure on");
    subjects.push_back(text_subject("model", o.model, o.tokenizer, o.text, seed, context));
    return subjects;
  }
  subjects.push_back(world_subject(o.preset, seed, context));
  if (std::optional<Subject> stories = stories_subject(seed, context))
    subjects.push_back(std::move(*stories));
  return subjects;
}

static int run(const Options& o, Context& context) {
  Results results(context, o.out, "GPTQ", "weights in 4, 3 and 2 bits, with and without compensation");
  std::map<std::string, std::vector<Measured>, std::greater<>>
      measured;  // by model (the world first), one per seed
  for (int64_t i = 0; i < o.seeds; ++i) {
    for (const Subject& s : subjects_of(o, uint64_t(i + 1), context)) {
      measured[s.name].push_back(measure(s, o, context));
      if (i == 0) save(s, o, results);
    }
  }
  for (const auto& [name, all] : measured) show(name, all, results);
  return results.save();
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "gptq",
       .about = "quantizes trained models to 4, 3 and 2 bits by GPTQ and by rounding, and compares",
       .example = "build/bin/gptq\nbuild/bin/gptq --seeds 3\n"
                  "build/bin/gptq --model my/llama --text wiki.txt --out runs/gptq-mine",
       .flags =
           [&](Flags& flags) {
             flags.add("--out", &o.out, "folder of the run");
             flags.add("--preset", &o.preset, "base model").one_of({"world", "world-small"});
             flags.add("--seeds", &o.seeds, "base models and calibration texts").between(1, 9);
             flags.add("--tokens", &o.tokens, "positions to calibrate on").at_least(1);
             flags.add("--evaluation", &o.evaluation, "positions to measure on").at_least(1);
             flags.add("--damping", &o.damping, "share of the Hessian's mean diagonal").between(0, 1e6);
             flags.add("--block", &o.block, "columns per lazy block").at_least(1);
             flags.add("--model", &o.model, "quantize this one instead: Hugging Face folder, .bin or .gguf");
             flags.add("--tokenizer", &o.tokenizer, "its tokenizer, if it has none of its own");
             flags.add("--text", &o.text, "its text: the first half calibrates, the second measures");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
