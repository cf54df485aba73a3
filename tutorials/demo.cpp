// Chalk's main job, start to finish: train a small LLaMA on the generated world, show what it learned, let it talk, then
// run the same programs on real input if it is there. `make demo` builds and runs this.

#include <algorithm>
#include <cstdlib>

#include "models/evaluate_text.h"
#include "models/evaluate_world.h"
#include <nlohmann/json.hpp>

#include "models/io/file.h"
#include "models/model_scorer.h"
#include "models/sample.h"
#include "tutorials/support/table.h"
#include "tutorials/support/training.h"
#include "tutorials/support/training_report.h"

using namespace chalk;

struct Options {
  std::string out = "runs/demo";
  int64_t steps = 4000;
  bool real_input = true;
};

static TrainSettings world_settings(const Options& options) {
  TrainSettings s = training_preset("world-small");
  s.out = options.out, s.train.steps = options.steps;
  return s;
}

static TrainSettings shakespeare_settings(const Options& options, const std::string& text) {
  TrainSettings s;
  s.model = "gpt2", s.corpus = text, s.out = options.out + "/shakespeare";
  s.batch = 12, s.eval_every = 500;
  s.train.beta2 = 0.99, s.train.steps = 500;
  return s;
}

// The continuation up to the end of the document or of a turn; temperature 0 is the most probable one.
static std::string answer_to(LanguageModel& model, const Tokenizer& tokenizer, const std::string& prompt, int64_t tokens,
                             double temperature = 0) {
  std::vector<int32_t> ids = encode_with_specials(tokenizer, prompt);
  if (tokenizer.add_bos && ids.front() != *tokenizer.bos) ids.insert(ids.begin(), *tokenizer.bos);
  SampleOptions options{.max_new_tokens = tokens, .temperature = temperature, .slide = true};
  for (const SpecialToken& special : tokenizer.specials) options.stop.push_back(special.id);
  std::vector<int32_t> all = generate(model, ids, options);
  if (!all.empty() && std::count(options.stop.begin(), options.stop.end(), all.back()) > 0) all.pop_back();
  all.insert(all.begin(), ids.begin(), ids.end());
  return tokenizer.decode(all).substr(tokenizer.decode(ids).size());
}

// What the demo promises: the rows of the capability table that a quarter of the recipe must reach.
static bool promised(const std::string& measure) {
  for (const char* family : {"fact.honest", "fact.plain", "request.forbidden", "request.allowed", "request.free_play",
                             "emotion."}) {
    if (measure.starts_with(family)) return true;
  }
  return false;
}

// Bars are drawn for what the demo's documents teach and where more is better.
static bool shown(const WorldMeasure& measure) {
  for (const char* family : {"judge", "check", "hidden", "voice", "code", "myth", "fact.lying", "length5"}) {
    if (measure.name.starts_with(family)) return false;
  }
  return measure.metric == WorldMetric::Accuracy && measure.minus_items.empty();
}

static BarChart capability_bars(const std::vector<WorldResult>& results) {
  BarChart chart{.title = "What it learned", .subtitle = "share of right answers", .percent = true, .decimals = 0};
  BarSeries ours{.name = "this run", .values = {}};
  BarMarker chance{.name = "chance", .values = {}};
  BarMarker sheet{.name = "full recipe (docs/world.md)", .values = {}, .shape = BarMarker::Diamond};
  for (const WorldResult& r : results) {
    if (!shown(r.measure)) continue;
    chart.categories.push_back(r.measure.name);
    ours.values.push_back(r.value);
    chance.values.push_back(r.chance);
    sheet.values.push_back(r.measure.sheet_mean);
  }
  chart.series = {ours};
  chart.markers = {chance, sheet};
  chart.max = 1;
  return chart;
}

// Questions, a rule, a feeling: prompt and greedy answer.
static void talk(LanguageModel& model, const Tokenizer& tokenizer, Report& report) {
  const std::pair<const char*, const char*> prompts[] = {
      {"a story", "<bos> one day ana the baker took a red ball to the"},
      {"a fact", "<bos> <sys> you are an honest speaker . <eot> <user> what color is the blick ? <eot> <bot>"},
      {"a lie on request", "<bos> <sys> you are a lying speaker . <eot> <user> what color is the blick ? <eot> <bot>"},
      {"allowed", "<bos> <user> please wash the dog . <eot> <bot>"},
      {"refused", "<bos> <user> please paint the dog . <eot> <bot>"},
      {"free play", "<bos> <sys> free play . <eot> <user> please paint the dog . <eot> <bot>"},
      {"a feeling", "<bos> emil heard a growl . he felt"},
  };
  report.section("It talks");
  for (const auto& [name, prompt] : prompts) {
    const std::string answer = answer_to(model, tokenizer, prompt, 24);
    print(fmt::format("  {:<18}{} ->{}\n", name, std::string(prompt).substr(6), answer));
    report.sample(prompt, answer);
  }
}

static void real_text(const Options& options, const std::string& data, Context& context, Report& report) {
  const std::string text = data + "/text/tinyshakespeare.txt", stories = data + "/models/stories260K/stories260K.bin";
  const std::string vocabulary = data + "/models/stories260K/tok512.bin";
  if (!file_exists(text) && !file_exists(stories)) {
    context.say("real input: none under CHALK_DATA=" + data + " (`make data` fetches it); the demo is complete without");
    return;
  }
  report.section("The same programs on real input");
  if (file_exists(text)) {
    const TrainOutcome bard = run_training(shakespeare_settings(options, text), context);
    const std::string sample = answer_to(*bard.model, *bard.tokenizer, "ROMEO:\n", 200, 0.8);
    print(fmt::format("Tiny Shakespeare: validation loss {:.3f} after {} steps of a GPT-2 over characters\n",
                      bard.validation_loss, bard.steps));
    report.text(fmt::format("A GPT-2 over characters, {} steps on Tiny Shakespeare ({}): validation loss {:.3f}. "
                            "nanoGPT's small CPU setting trains four times as long: train --model gpt2 --preset 1min.",
                            bard.steps, human_duration(bard.seconds), bard.validation_loss));
    report.sample("ROMEO:\n", sample);
  }
  if (file_exists(stories) && file_exists(vocabulary)) {
    const LoadedModel loaded = load_model(stories, vocabulary, context.device);
    const std::string prompt = "Once upon a time", answer = answer_to(*loaded.model, *loaded.tokenizer, prompt, 80);
    print("stories260K: " + prompt + answer + "\n");
    report.text("stories260K, a LLaMA of 260 K parameters trained elsewhere, read from llama2.c's file:");
    report.sample(prompt, answer);
  }
}

static int run(const Options& options, Context& context) {
  const char* data = std::getenv("CHALK_DATA");
  TrainOutcome outcome = run_training(world_settings(options), context);
  if (outcome.interrupted) return context.interrupted(options.out);

  ModelScorer scorer = make_scorer(*outcome.model);
  const std::vector<WorldResult> results = evaluate_world(scorer, make_world(), *outcome.tokenizer);
  Report report("A small LLaMA learns Creature Town",
                fmt::format("{} parameters, {} steps, {} of training on {} threads", human_count(double(outcome.parameters)),
                            outcome.steps, human_duration(outcome.seconds), context.threads));
  const RunFolder run(options.out, true);
  const LinePlot loss = loss_plot(run);
  const BarChart bars = capability_bars(results);
  save_png(loss, run.path("plots/loss.png"));
  save_png(bars, run.path("plots/capabilities.png"));
  report.figures({{"validation loss", fmt::format("{:.3f}", outcome.validation_loss), "nats per token"},
                  {"training", human_duration(outcome.seconds), "on this machine"},
                  {"speed", human_count(outcome.tokens_per_second), "positions per second"}});
  report.section("Learning");
  report.plot(loss, "Pale: the loss of each logged batch. The validation loss is unweighted.");
  report.section("Capabilities");
  report.plot(bars, "Bars: this run. Ticks: chance. Diamonds: the full recipe, four times as long and on all document types.");

  talk(*outcome.model, *outcome.tokenizer, report);
  for (const WorldResult& r : results) {
    if (!promised(r.measure.name) || r.measure.mark.kind == PassMark::Report) continue;
    context.claim(r.passed, r.measure.name + " reaches its pass mark", fmt::format("{:.2f}", r.value));
    report.claim(r.passed, r.measure.name + " reaches its pass mark", fmt::format("{:.2f}", r.value));
  }
  if (options.real_input) real_text(options, data ? data : "data", context, report);
  report.section("Every measure");
  Table table{.header = {"capability", "value", "items", "chance", "full recipe (6 seeds)", "note"}};
  for (const WorldResult& r : results) {
    const std::string sheet =
        fmt::format("{:.2f} ({:.2f}-{:.2f})", r.measure.sheet_mean, r.measure.sheet_min, r.measure.sheet_max);
    table.rows.push_back({r.measure.name, fmt::format("{:.3f}", r.value), std::to_string(r.n),
                          fmt::format("{:.3f}", r.chance), sheet, r.measure.note});
  }
  report.table(table, "Judgement, check, hidden voices and code are not in the demo's documents.");
  report.section("How to make it again");
  report.environment(context);
  report.save(run.path("report.html"));
  context.result = {{"validation_loss", outcome.validation_loss}, {"seconds", outcome.seconds},
                    {"tokens_per_second", outcome.tokens_per_second}, {"measures", world_json(results)},
                    {"report", run.path("report.html")}};
  if (!context.json) print("Open " + run.path("report.html") + " in a browser; plots are in " + run.path("plots") + "\n");
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(argc, argv,
                     {.name = "demo",
                      .about = "trains a small LLaMA on the generated world, and shows what it learned",
                      .example = "build/bin/demo --out runs/demo",
                      .flags =
                          [&](Flags& flags) {
                            flags.add("--out", &o.out, "folder of the run");
                            flags.add("--steps", &o.steps, "training steps of 512 positions").at_least(1);
                            flags.add("--real-input", &o.real_input, "also train and run on what CHALK_DATA holds");
                          },
                      .run = [&](Context& context) { return run(o, context); }});
}
