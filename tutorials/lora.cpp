// LoRA on the world's chat documents: loss against the number of parameters that learn, beside full fine-tuning.
// papers/finetuning/lora.h is the method, papers/finetuning/lora.md the page.

#include "papers/finetuning/lora.h"

#include "models/lora_adapter.h"
#include "tutorials/support/finetuning.h"
#include "tutorials/support/report.h"
#include "tutorials/support/run_folder.h"

using namespace chalk;

struct Options {
  std::string out = "runs/lora", base;
  int64_t seeds = 1, first_seed = 1, steps = 300, documents = 20000;
  double lr = 3e-3, full_lr = 1e-3;
};

// One way to choose what learns; one number per seed. rank 0: every parameter.
struct Method {
  std::string name;
  int64_t rank;
  std::vector<std::string> targets = {};
  double alpha = 16;
  int64_t learning = 0;
  std::vector<double> after = {}, merged = {}, new_facts = {}, old_facts = {}, requests = {};
  double merge_error = 0;
  bool base_untouched = true;
};

static void fine_tune(Method& m, const LoadedModel& base, const Options& o, uint64_t seed, Context& context) {
  const ChatTask task = make_chat_task(o.documents, 8, seed);
  const auto batch = [&](int64_t i) { return task.batch(i); };
  LoraFinetuneOptions options{.lora = {.rank = m.rank, .alpha = m.alpha},
                              .targets = m.targets,
                              .lr = m.rank > 0 ? o.lr : o.full_lr,
                              .steps = o.steps,
                              .seed = seed};
  auto model = copy_of(*base.model);
  const std::vector<NamedTensor> before = model->parameters();
  if (m.rank > 0) {
    finetune_lora(*model, options, batch);
  } else {
    train_steps(*model, options, batch);
  }
  m.learning = 0;
  for (const NamedTensor& p : trainable_parameters(*model)) m.learning += p.tensor.numel();
  m.after.push_back(task.chat_loss(*model));
  const ChatSkills skills = chat_skills(*model, *base.tokenizer);
  m.new_facts.push_back(skills.new_facts), m.old_facts.push_back(skills.old_facts);
  m.requests.push_back(skills.requests);
  if (m.rank > 0) {
    const std::vector<NamedTensor> original = base.model->parameters();
    for (size_t i = 0; i < original.size(); ++i) {
      m.base_untouched &= before[i].tensor.to_vector() == original[i].tensor.to_vector();
    }
    if (m.name == "rank 8") save_adapter(*model, o.out + "/adapter", base.path);
    m.merge_error = std::max(m.merge_error, merge_finetuned(*model).error_rms);
    m.merged.push_back(task.chat_loss(*model));
    if (m.name == "rank 8") save_model(*model, *base.tokenizer, o.out + "/merged");
  }
  context.say(
      fmt::format("seed {}, {}: {} learn, chat loss {:.4f}", seed, m.name, m.learning, m.after.back()));
}

static LinePlot loss_plot(const std::vector<Method>& methods) {
  LinePlot plot{.title = "Loss against what learns",
                .subtitle = "chat documents, nats per reply token",
                .x = {.label = "parameters that learn", .log = true},
                .y = {.label = "validation loss"}};
  Series all{.name = "LoRA on every projection", .x = {}, .y = {}, .points = true};
  Series qv{.name = "LoRA on q and v only", .x = {}, .y = {}, .line = false, .points = true};
  for (const Method& m : methods) {
    if (m.rank == 0) {
      plot.lines.push_back({.at = mean_of(m.after), .label = "full fine-tuning"});
    } else {
      Series& series = m.targets.empty() ? all : qv;
      series.x.push_back(double(m.learning)), series.y.push_back(mean_of(m.after));
    }
  }
  plot.series = {all, qv};
  return plot;
}

static int run(const Options& o, Context& context) {
  RunFolder folder(o.out, true);
  folder.write_config(context);
  // q and v with rank 38 learn as many numbers as everything with rank 8 (the world's model, width 128).
  std::vector<Method> methods = {
      {"all parameters", 0}, {"rank 1", 1},   {"rank 2", 2},
      {"rank 8", 8},         {"rank 32", 32}, {"rank 38, q and v only", 38, {"q_proj", "v_proj"}, 76}};
  for (Method& m : methods) {
    if (m.rank > 0) m.alpha = 2 * double(m.rank);  // the scale s = 2 for every rank: only the rank changes
  }
  std::vector<double> untouched;
  for (uint64_t seed = uint64_t(o.first_seed); seed < uint64_t(o.first_seed + o.seeds); ++seed) {
    const LoadedModel base = o.base.empty() ? base_model("world", seed, context)
                                            : load_model(o.base + std::to_string(seed), "", context.device);
    untouched.push_back(make_chat_task(100, 8, 1).chat_loss(*base.model));
    for (Method& method : methods) fine_tune(method, base, o, seed, context);
  }
  Table table{
      .header = {"what learns", "parameters", "chat loss", "merged", "new facts", "old facts", "requests"}};
  for (const Method& m : methods) {
    table.rows.push_back({m.name, std::to_string(m.learning), with_spread(m.after),
                          m.rank > 0 ? with_spread(m.merged) : "", with_spread(m.new_facts, 2),
                          with_spread(m.old_facts, 2), with_spread(m.requests, 2)});
  }
  print(to_text(table) + "\nbefore fine-tuning the chat loss is " + with_spread(untouched) + "\n");

  Report report("LoRA: learning in a few ranks",
                fmt::format("{} base models, {} steps each", o.seeds, o.steps));
  report.section("Claims");
  const auto claim = [&](bool holds, const std::string& what, const std::string& measured) {
    context.claim(holds, what, measured);
    report.claim(holds, what, measured);
  };
  const Method &full = methods[0], &one = methods[1], &eight = methods[3], &attention = methods[5];
  const double gain = mean_of(untouched) - mean_of(full.after);
  bool untouched_base = true;
  double merge_gap = 0;
  for (const Method& m : methods) {
    untouched_base &= m.base_untouched;
    for (size_t s = 0; s < m.merged.size(); ++s)
      merge_gap = std::max(merge_gap, std::abs(m.merged[s] - m.after[s]));
  }
  claim(mean_of(eight.after) - mean_of(full.after) < 0.05, "rank 8 ends within 0.05 nats of full fine-tuning",
        fmt::format("{:.4f} and {:.4f}, with {:.1f} % of the parameters", mean_of(eight.after),
                    mean_of(full.after), 100 * double(eight.learning) / double(full.learning)));
  claim(mean_of(untouched) - mean_of(one.after) > gain / 2, "rank 1 already has most of the gain",
        fmt::format("{:.1f} %", 100 * (mean_of(untouched) - mean_of(one.after)) / gain));
  claim(mean_of(eight.after) < mean_of(attention.after),
        "adapters everywhere beat as many numbers on q and v only",
        fmt::format("{:.4f} and {:.4f}", mean_of(eight.after), mean_of(attention.after)));
  claim(untouched_base, "every frozen number is bit-identical after training", "");
  claim(merge_gap < 1e-3, "merging changes nothing",
        fmt::format("largest difference of the loss {:.1e}", merge_gap));

  const LinePlot plot = loss_plot(methods);
  save_png(plot, folder.path("plots/loss_against_parameters.png"));
  report.section("Results");
  report.table(table, "Chat loss: nats per reply token of validation documents.");
  report.plot(plot, "Every adapter has scale s = 2.");
  report.environment(context);
  report.save(folder.path("report.html"));
  context.result = {{"chat_loss_before", untouched},
                    {"adapter", o.out + "/adapter"},
                    {"report", folder.path("report.html")}};
  for (const Method& m : methods) {
    context.result["methods"].push_back({{"name", m.name},
                                         {"parameters", m.learning},
                                         {"chat_loss", m.after},
                                         {"merged", m.merged},
                                         {"new_facts", m.new_facts},
                                         {"old_facts", m.old_facts},
                                         {"requests", m.requests}});
  }
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  const auto flags = [&](Flags& f) {
    f.add("--out", &o.out, "folder of the run");
    f.add("--base", &o.base,
          "prefix of base models, 1, 2, ... is added (default: the world's, trained if need be)");
    f.add("--seeds", &o.seeds, "base models to repeat it with").between(1, 16);
    f.add("--first-seed", &o.first_seed, "of these base models").at_least(1);
    f.add("--steps", &o.steps, "updates of 8 rows of 64 positions").between(1, 1e6);
    f.add("--lr", &o.lr, "learning rate of the adapters").between(0, 1);
    f.add("--full-lr", &o.full_lr, "learning rate of full fine-tuning").between(0, 1);
  };
  return run_program(
      argc, argv,
      {.name = "lora",
       .about = "fine-tunes with low-rank adapters, and compares with training every parameter",
       .example = "build/bin/lora --seeds 3",
       .flags = flags,
       .run = [&](Context& context) { return run(o, context); }});
}
