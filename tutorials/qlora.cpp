// QLoRA on the world's chat documents: fine-tune through a base stored in 4 bits, and compare with 16-bit LoRA.
// papers/finetuning/qlora.h is the method, papers/finetuning/qlora.md the page.

#include "papers/finetuning/qlora.h"

#include "models/lora_adapter.h"
#include "tutorials/support/finetuning.h"
#include "tutorials/support/qlora_report.h"
#include "tutorials/support/report.h"
#include "tutorials/support/run_folder.h"

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
  const ChatSkills skills = chat_skills(*model, *base.tokenizer);
  m.new_facts.push_back(skills.new_facts), m.old_facts.push_back(skills.old_facts);
  m.requests.push_back(skills.requests);
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

static int run(const Options& o, Context& context) {
  RunFolder folder(o.out, true);
  folder.write_config(context);
  std::vector<QloraMethod> methods = {{"LoRA, 16-bit base", BaseStorage::BFloat16, FourBit::NF4},
                                      {"the same again", BaseStorage::BFloat16, FourBit::NF4, 1},
                                      {"QLoRA, NF4", BaseStorage::FourBit, FourBit::NF4},
                                      {"QLoRA, FP4", BaseStorage::FourBit, FourBit::FP4},
                                      {"QLoRA, Int4", BaseStorage::FourBit, FourBit::Int4}};
  LoadedModel base;
  std::vector<double> untouched, untouched_facts;
  for (uint64_t seed = uint64_t(o.first_seed); seed < uint64_t(o.first_seed + o.seeds); ++seed) {
    base = o.base.empty() ? base_model("world", seed, context)
                          : load_model(o.base + std::to_string(seed), "", context.device);
    untouched.push_back(make_chat_task(100, 8, 1).chat_loss(*base.model));
    untouched_facts.push_back(chat_skills(*base.model, *base.tokenizer).new_facts);
    for (QloraMethod& method : methods) fine_tune(method, base, o, seed, context);
  }
  const QloraMethod &lora = methods[0], &again = methods[1], &nf4 = methods[2], &fp4 = methods[3],
                    &int4 = methods[4];
  const Table results = qlora_table(methods), memory = memory_table(*base.model, settings(o, nf4, 1), nf4);
  print(to_text(results) + "\nbefore fine-tuning the chat loss is " + with_spread(untouched) + "\n\n" +
        to_text(memory) + "\n");

  Report report("QLoRA: fine-tuning through 4 bits",
                fmt::format("{} base models, {} steps each, rank {}", o.seeds, o.steps, o.rank));
  report.section("Claims");
  const auto claim = [&](bool holds, const std::string& what, const std::string& measured) {
    context.claim(holds, what, measured);
    report.claim(holds, what, measured);
  };
  bool smallest = true;
  for (size_t s = 0; s < nf4.error.size(); ++s)
    smallest &= nf4.error[s] < fp4.error[s] && nf4.error[s] < int4.error[s];
  claim(smallest, "before fine-tuning, NF4's weight error is below FP4's and Int4's in every seed",
        fmt::format("{:.5f}, {:.5f}, {:.5f}", mean_of(nf4.error), mean_of(fp4.error), mean_of(int4.error)));
  // Noise: two standard errors of a difference of two runs that differ by seeds only, over as many seeds.
  const double gap = mean_of(minus(nf4.after, lora.after));
  double squares = 0;
  for (double d : minus(again.after, lora.after)) squares += d * d;
  const double noise = 2 * std::sqrt(squares) / double(o.seeds);
  claim(std::abs(gap) <= std::max(o.tolerance, noise),
        "QLoRA with NF4 ends where 16-bit LoRA ends, within noise",
        fmt::format("difference {:+.4f}, noise {:.4f}", gap, noise));
  claim(mean_of(nf4.new_facts) > mean_of(untouched_facts) + 0.5, "it has learned the new facts",
        fmt::format("{} right before, {} after", with_spread(untouched_facts, 2),
                    with_spread(nf4.new_facts, 2)));
  const QloraMemory predicted = predict_memory(*base.model, settings(o, nf4, 1));
  // The allocator rounds each small array up to a multiple of 64 bytes or to an eighth of a power of two.
  claim(nf4.held_bytes >= predicted.packed_bytes - 1024 && nf4.held_bytes <= predicted.packed_bytes * 9 / 8,
        "the allocator holds what the arithmetic says",
        fmt::format("{} and {} bytes", nf4.held_bytes, predicted.packed_bytes));
  claim(nf4.pages.peak_resident_bytes <= std::max(o.budget, predicted.moment_bytes),
        "the moments stay inside their budget", fmt::format("{} evictions", nf4.pages.evictions));

  const LinePlot errors = weight_error_plot(*base.model), learning = learning_plot(methods);
  save_png(errors, folder.path("plots/weight_error.png"));
  save_png(learning, folder.path("plots/learning.png"));
  report.section("Results");
  report.table(results,
               "Chat loss: nats per reply token of validation documents. Rounded: the adapters merged, then "
               "quantized.");
  report.plot(errors, "Mean over all projections of one base model.");
  report.plot(learning, "The five runs see batches in their seed's order.");
  report.section("Memory");
  report.table(memory, "Held: by the caching allocator, in size classes.");
  report.environment(context);
  report.save(folder.path("report.html"));
  context.result = {{"chat_loss_before", untouched},
                    {"adapter", o.out + "/adapter"},
                    {"report", folder.path("report.html")},
                    {"methods", qlora_json(methods)}};
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
