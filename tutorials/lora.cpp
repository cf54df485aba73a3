// LoRA on the world's chat documents: loss against the number of parameters that learn, beside full fine-tuning.
// papers/finetuning/lora.h is the method, papers/finetuning/lora.md the page.

#include "papers/finetuning/lora.h"

#include "models/lora_adapter.h"
#include "tutorials/support/lora_report.h"

using namespace chalk;

struct Options {
  std::string out = "runs/lora", base;
  int64_t seeds = 1, first_seed = 1, steps = 300, documents = 20000;
  double lr = 3e-3, full_lr = 1e-3;
};

static void fine_tune(LoraMethod& m, const LoadedModel& base, const Options& o, uint64_t seed,
                      Context& context) {
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
  m.skills.add(chat_skills(*model, *base.tokenizer));
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

static void check_claims(const std::vector<LoraMethod>& methods, double loss_before, Results& results) {
  const LoraMethod &full = methods[0], &one = methods[1], &eight = methods[3], &attention = methods[5];
  const double gain = loss_before - mean_of(full.after);
  bool untouched_base = true;
  double merge_gap = 0;
  for (const LoraMethod& m : methods) {
    untouched_base &= m.base_untouched;
    for (double d : difference(m.merged, m.after)) merge_gap = std::max(merge_gap, std::abs(d));
  }
  results.claim(mean_of(eight.after) - mean_of(full.after) < 0.05,
                "rank 8 ends within 0.05 nats of full fine-tuning",
                fmt::format("{:.4f} and {:.4f}, with {:.1f} % of the parameters", mean_of(eight.after),
                            mean_of(full.after), 100 * double(eight.learning) / double(full.learning)));
  results.claim(loss_before - mean_of(one.after) > gain / 2, "rank 1 already has most of the gain",
                fmt::format("{:.1f} %", 100 * (loss_before - mean_of(one.after)) / gain));
  results.claim(mean_of(eight.after) < mean_of(attention.after),
                "adapters everywhere beat as many numbers on q and v only",
                fmt::format("{:.4f} and {:.4f}", mean_of(eight.after), mean_of(attention.after)));
  results.claim(untouched_base, "every frozen number is bit-identical after training");
  results.claim(merge_gap < 1e-3, "merging changes nothing",
                fmt::format("largest difference of the loss {:.1e}", merge_gap));
}

static int run(const Options& o, Context& context) {
  Results results(context, o.out, "LoRA: learning in a few ranks",
                  fmt::format("{} base models, {} steps each", o.seeds, o.steps));
  // q and v with rank 38 learn as many numbers as everything with rank 8 (the world's model, width 128).
  std::vector<LoraMethod> methods = {
      {"all parameters", 0}, {"rank 1", 1},   {"rank 2", 2},
      {"rank 8", 8},         {"rank 32", 32}, {"rank 38, q and v only", 38, {"q_proj", "v_proj"}, 76}};
  for (LoraMethod& m : methods) {
    if (m.rank > 0) m.alpha = 2 * double(m.rank);  // the scale s = 2 for every rank: only the rank changes
  }
  std::vector<double> before;
  for (int64_t i = 0; i < o.seeds; ++i) {
    const uint64_t seed = uint64_t(o.first_seed + i);
    const LoadedModel base = numbered_base(o.base, seed, context);
    before.push_back(make_chat_task(100, 8, 1).chat_loss(*base.model));
    for (LoraMethod& method : methods) fine_tune(method, base, o, seed, context);
  }
  results.table("Results", lora_table(methods),
                fmt::format("Chat loss: nats per reply token of validation documents; before fine-tuning {}.",
                            spread(before)));
  results.plot("loss_against_parameters", lora_plot(methods), "Every adapter has scale s = 2.");
  check_claims(methods, mean_of(before), results);
  context.result = {
      {"chat_loss_before", before}, {"adapter", o.out + "/adapter"}, {"methods", lora_json(methods)}};
  return results.save();
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
