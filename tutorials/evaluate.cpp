// What a model can do: the world's capability table, or multiple choice from files, by lm-evaluation-harness' protocol.

#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/evaluate_files.h"
#include "models/evaluate_world.h"
#include "models/io/file.h"
#include "models/load.h"
#include "models/model_scorer.h"
#include "models/sample.h"
#include "tutorials/support/program.h"
#include "tutorials/support/progress.h"

using namespace chalk;

struct Options {
  std::string model, tokenizer, task = "world", records;
  int64_t limit = 0;
  bool check = false, generate = false;
};

static void evaluate_world_task(const Options& options, const LoadedModel& loaded, Scorer& scorer, Context& context) {
  const std::vector<WorldResult> results = evaluate_world(scorer, make_world(), *loaded.tokenizer, options.limit);
  Json world = {{"alias", "world"}};
  for (const WorldResult& r : results) {
    world[r.measure.name + ",none"] = r.value;
    world[r.measure.name + "_stderr,none"] = r.error;
  }
  context.result = {{"results", {{"world", world}}},
                    {"measures", world_json(results)},
                    {"passed", all_passed(results)},
                    {"config", {{"model", loaded.path}}}};
  if (!context.json) print(world_table(results));
  if (options.check) context.claim(all_passed(results), "every capability reaches its pass mark");
}

// Greedy text after a prompt, up to the end of the line: what GSM8K's exact match needs.
static GenerateFunction greedy_line(const LoadedModel& loaded) {
  return [&loaded](const std::string& prompt) {
    std::vector<int32_t> ids = loaded.tokenizer->encode(prompt);
    if (loaded.tokenizer->add_bos) ids.insert(ids.begin(), *loaded.tokenizer->bos);
    SampleOptions sample{.max_new_tokens = 256, .temperature = 0, .slide = true};
    if (loaded.tokenizer->eos) sample.stop.push_back(*loaded.tokenizer->eos);
    return loaded.tokenizer->decode(generate(*loaded.model, ids, sample));
  };
}

static void evaluate_files_task(const Options& options, const LoadedModel& loaded, Scorer& scorer, Context& context) {
  const TextEncoder encoder = text_encoder(*loaded.tokenizer);
  const auto files = is_folder(options.task) ? task_files(options.task) : std::vector<std::string>{options.task};
  if (files.empty()) throw FileError(options.task, "", "holds no .jsonl, .json or .csv file");
  std::vector<TaskResult> all;
  std::string records;
  for (const std::string& file : files) {
    const Task task = read_task(file);
    context.say(fmt::format("{}: {} examples, {}", task.name, task.examples.size(), task.protocol));
    const GenerateFunction generate = options.generate ? greedy_line(loaded) : GenerateFunction{};
    for (TaskResult& result : evaluate_task(scorer, encoder, task, options.limit, generate)) {
      records += records_jsonl(result);
      all.push_back(std::move(result));
    }
  }
  if (!options.records.empty()) write_text(options.records, records);
  context.result = harness_json(all, {{"model", loaded.path}, {"limit", options.limit}});
  if (!context.json) print(task_table(all));
}

static int run(const Options& options, Context& context) {
  const LoadedModel loaded = load_model(options.model, options.tokenizer, context.device);
  ModelScorer scorer = make_scorer(*loaded.model);
  std::unique_ptr<Progress> progress;
  scorer.progress = [&](int64_t done, int64_t total) {
    if (!progress) progress = std::make_unique<Progress>("evaluate", 0, total, context.quiet);
    progress->update(done);
    if (done == total) progress.reset();
  };
  if (options.task == "world") {
    evaluate_world_task(options, loaded, scorer, context);
  } else {
    evaluate_files_task(options, loaded, scorer, context);
  }
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "evaluate",
       .about = "measures what a model can do",
       .example = "build/bin/evaluate --model runs/world --task world\n"
                  "build/bin/evaluate --model stories260K/hf --tokenizer tok512.bin --task data/eval/piqa.jsonl --json",
       .flags =
           [&](Flags& flags) {
             flags.add("--model", &o.model, "Hugging Face folder, run folder, llama2.c .bin or .gguf").required();
             flags.add("--tokenizer", &o.tokenizer, "tokenizer file (default: the model's own)");
             flags.add("--task", &o.task, "world, a benchmark file, or a folder of them");
             flags.add("--limit", &o.limit, "only this many examples of each set (0 = all)").at_least(0);
             flags.add("--records", &o.records, "write one JSON line per example to this file");
             flags.add("--generate", &o.generate, "GSM8K: also generate answers and compare the number (slow)");
             flags.add("--check", &o.check, "world: exit with 5 when a pass mark is missed");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
