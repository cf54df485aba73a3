// QLoRA on the world's chat documents: fine-tune through a base stored in 4 bits, and compare with 16-bit LoRA.
// papers/finetuning/qlora.h is the method, papers/finetuning/qlora.md the page.

#include "papers/finetuning/qlora.h"

#include "models/lora_adapter.h"
#include "tutorials/support/finetuning.h"
#include "tutorials/support/qlora_report.h"
#include "tutorials/support/results.h"

using namespace chalk;

struct Options {
  std::string out = "runs/qlora", base;
  int64_t seeds = 1, first_seed = 1, steps = 300, rank = 8, documents = 20000, budget = 128 * 1024;
  double alpha = 16, lr = 3e-3, dropout = 0, tolerance = 0.02;
};

static QloraOptions settings(const Options& o, const QloraMethod& method, uint64_t seed) {
  QloraOptions q;
  q.storage = method.storage, q.quantization.type = method.type;
  q.lora = {.rank = o.rank, .alpha = o.alpha, .dropout = o.dropout};
  q.adamw.lr = float(o.lr), q.steps = o.steps, q.seed = seed + 1000 * method.again;
  q.paging = {.page_size = 4096, .budget_bytes = o.budget};
  return q;
}

static void fine_tune(QloraMethod& m, const LoadedModel& base, const Options& o, uint64_t seed,
                      Context& context) {
  const QloraOptions q = settings(o, m, seed);
  const ChatTask task = make_chat_task(o.documents, 8, q.seed);
  auto model = copy_of(*base.model);
  m.held_bytes = held_bytes(*model, q.quantization);
  prepare_qlora(*model, q);
  m.error.push_back(weight_error(*base.model, *model));  // B = 0: the adapted weight is the stored one
  m.base.push_back(task.base_loss(*model));
  const QloraRun run = train_adapters(*model, q, [&](int64_t i) { return task.batch(i); });
  m.losses = run.losses, m.pages = run.pages;
  m.after.push_back(task.chat_loss(*model));
  m.skills.add(chat_skills(*model, *base.tokenizer));
  if (m.name == "QLoRA, NF4") save_adapter(*model, o.out + "/adapter", base.path);
  if (m.storage == BaseStorage::FourBit) {  // merged into 4 bits, and taken out again
    for (LoraLinear* layer : lora_layers(*model)) layer->merge();
    m.rounded.push_back(task.chat_loss(*model));
    for (LoraLinear* layer : lora_layers(*model)) layer->unmerge();
  }
  merge_into_float(*model);
  m.merged.push_back(task.chat_loss(*model));
  if (m.storage != BaseStorage::FourBit) {  // the other order: fine-tuned in 16 bits, then rounded to NF4
    quantize_projections(*model, {});
    m.rounded.push_back(task.chat_loss(*model));
  }
  context.say(fmt::format("seed {}, {}: chat loss {:.4f}", seed, m.name, m.after.back()));
}

static void check_claims(const std::vector<QloraMethod>& methods, const std::vector<double>& facts_before,
                         const QloraMemory& predicted, const Options& o, Results& results) {
  const QloraMethod &lora = methods[0], &again = methods[1], &nf4 = methods[2], &fp4 = methods[3],
                    &int4 = methods[4];
  results.claim(
      highest(difference(nf4.error, fp4.error)) < 0 && highest(difference(nf4.error, int4.error)) < 0,
      "before fine-tuning, NF4's weight error is below FP4's and Int4's in every seed",
      fmt::format("{:.5f}, {:.5f}, {:.5f}", mean_of(nf4.error), mean_of(fp4.error), mean_of(int4.error)));
  // Noise: two standard errors of a difference of two runs that differ by seeds only, over as many seeds.
  const double gap = mean_of(difference(nf4.after, lora.after));
  double squares = 0;
  for (double d : difference(again.after, lora.after)) squares += d * d;
  const double noise = 2 * std::sqrt(squares) / double(o.seeds);
  results.claim(std::abs(gap) <= std::max(o.tolerance, noise),
                "QLoRA with NF4 ends where 16-bit LoRA ends, within noise",
                fmt::format("difference {:+.4f}, noise {:.4f}", gap, noise));
  results.claim(
      mean_of(nf4.skills.new_facts) > mean_of(facts_before) + 0.5, "it has learned the new facts",
      fmt::format("{} right before, {} after", spread(facts_before, 2), spread(nf4.skills.new_facts, 2)));
  // The allocator rounds each small array up to a multiple of 64 bytes or to an eighth of a power of two.
  results.claim(
      nf4.held_bytes >= predicted.packed_bytes - 1024 && nf4.held_bytes <= predicted.packed_bytes * 9 / 8,
      "the allocator holds what the arithmetic says",
      fmt::format("{} and {} bytes", nf4.held_bytes, predicted.packed_bytes));
  results.claim(nf4.pages.peak_resident_bytes <= std::max(o.budget, predicted.moment_bytes),
                "the moments stay inside their budget", fmt::format("{} evictions", nf4.pages.evictions));
}

static int run(const Options& o, Context& context) {
  Results results(context, o.out, "QLoRA: fine-tuning through 4 bits",
                  fmt::format("{} base models, {} steps each, rank {}", o.seeds, o.steps, o.rank));
  std::vector<QloraMethod> methods = {{"LoRA, 16-bit base", BaseStorage::BFloat16, FourBit::NF4},
                                      {"the same again", BaseStorage::BFloat16, FourBit::NF4, 1},
                                      {"QLoRA, NF4", BaseStorage::FourBit, FourBit::NF4},
                                      {"QLoRA, FP4", BaseStorage::FourBit, FourBit::FP4},
                                      {"QLoRA, Int4", BaseStorage::FourBit, FourBit::Int4}};
  LoadedModel base;
  std::vector<double> loss_before, facts_before;
  for (int64_t i = 0; i < o.seeds; ++i) {
    const uint64_t seed = uint64_t(o.first_seed + i);
    base = numbered_base(o.base, seed, context);
    loss_before.push_back(make_chat_task(100, 8, 1).chat_loss(*base.model));
    facts_before.push_back(chat_skills(*base.model, *base.tokenizer).new_facts);
    for (QloraMethod& method : methods) fine_tune(method, base, o, seed, context);
  }
  const QloraOptions nf4 = settings(o, methods[2], 1);
  results.table("Results", qlora_table(methods),
                fmt::format("Chat loss: nats per reply token of validation documents; before fine-tuning {}. "
                            "Rounded: the adapters merged, then quantized.",
                            spread(loss_before)));
  results.plot("weight_error", weight_error_plot(*base.model),
               "Mean over all projections of one base model.");
  results.plot("learning", learning_plot(methods), "The five runs see batches in their seed's order.");
  results.table("Memory", memory_table(*base.model, nf4, methods[2]),
                "Held: by the caching allocator, in size classes.");
  check_claims(methods, facts_before, predict_memory(*base.model, nf4), o, results);
  context.result = {
      {"chat_loss_before", loss_before}, {"adapter", o.out + "/adapter"}, {"methods", qlora_json(methods)}};
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
    f.add("--rank", &o.rank, "of A and B").between(1, 128);
    f.add("--alpha", &o.alpha, "the adapters' scale is alpha / rank").between(0, 1e6);
    f.add("--lr", &o.lr, "learning rate of AdamW").between(0, 1);
    f.add("--dropout", &o.dropout, "on the adapters' input").between(0, 0.9);
    f.add("--budget", &o.budget, "device bytes for the moments; 0 = no limit").at_least(0);
    f.add("--tolerance", &o.tolerance, "nats that count as no difference").between(0, 1);
  };
  return run_program(argc, argv,
                     {.name = "qlora",
                      .about = "fine-tunes through a base stored in 4 bits, and compares with 16-bit LoRA",
                      .example = "build/bin/qlora --seeds 3",
                      .flags = flags,
                      .run = [&](Context& context) { return run(o, context); }});
}
