// Tables and plots of the QLoRA tutorial.

#include "tutorials/support/qlora_report.h"

#include <cmath>

namespace chalk {

double weight_error(LanguageModel& original, LanguageModel& stored) {
  double error = 0, size = 0;
  for (Slot* slot : slots_of(original, Slot::Kind::Projection)) {
    if (slot->name == "lm_head") continue;
    const std::vector<float> w = dense_weight(*slot->layer),
                             q = dense_weight(*find_slot(stored, slot->name).layer);
    for (size_t i = 0; i < w.size(); ++i) {
      error += std::pow(double(q[i]) - double(w[i]), 2), size += double(w[i]) * double(w[i]);
    }
  }
  return error / size;
}

LinePlot weight_error_plot(LanguageModel& base) {
  LinePlot plot{.title = "What 4 bits lose",
                .subtitle = "trained weights, before fine-tuning",
                .x = {.label = "weights per block", .log = true},
                .y = {.label = "squared error / squared weight"}};
  for (FourBit type : {FourBit::NF4, FourBit::Int4, FourBit::FP4}) {
    Series series{.name = four_bit_name(type), .x = {}, .y = {}, .points = true};
    for (int64_t block : {16, 32, 64, 128, 256, 512, 1024}) {
      auto model = copy_of(base);
      quantize_projections(*model, {.type = type, .block = block});
      series.x.push_back(double(block)), series.y.push_back(weight_error(base, *model));
    }
    plot.series.push_back(series);
  }
  return plot;
}

LinePlot learning_plot(const std::vector<QloraMethod>& methods) {
  LinePlot plot{.title = "Fine-tuning on chat",
                .subtitle = "mean of 20 batches, last seed",
                .x = {.label = "step"},
                .y = {.label = "loss (sum over replies / positions)"}};
  for (const QloraMethod& m : methods) {
    Series series{.name = m.name, .x = {}, .y = {}};
    for (size_t i = 20; i < m.losses.size(); i += 10) {
      series.x.push_back(double(i));
      series.y.push_back(mean_of({m.losses.begin() + int64_t(i) - 20, m.losses.begin() + int64_t(i)}));
    }
    plot.series.push_back(series);
  }
  return plot;
}

Table qlora_table(const std::vector<QloraMethod>& methods) {
  Table table{.header = {"method", "weight error", "base loss", "chat loss", "merged, float",
                         "rounded to 4 bits", "new facts", "old facts", "requests"}};
  for (const QloraMethod& m : methods) {
    table.rows.push_back({m.name, fmt::format("{:.5f}", mean_of(m.error)), spread(m.base, 4), spread(m.after),
                          spread(m.merged), spread(m.rounded), spread(m.skills.new_facts, 2),
                          spread(m.skills.old_facts, 2), spread(m.skills.requests, 2)});
  }
  return table;
}

Table memory_table(LanguageModel& base, const QloraOptions& q, const QloraMethod& nf4) {
  const QloraMemory p = predict_memory(base, q);
  Table table{.header = {"what", "predicted", "held"}};
  const auto row = [&](const std::string& what, double bytes, const std::string& held = "") {
    table.rows.push_back({what, human_bytes(bytes), held});
  };
  row(fmt::format("{} weights of the projections, 16 bits", p.weights), 2.0 * double(p.weights));
  row(fmt::format("the same in NF4, {:.3f} bits each", 8.0 * double(p.packed_bytes) / double(p.weights)),
      double(p.packed_bytes), human_bytes(double(nf4.held_bytes)));
  row("embedding, head, norms (float)", double(p.other_bytes));
  row(fmt::format("adapters, rank {} (float)", q.lora.rank), double(p.adapter_bytes));
  row("their gradients", double(p.gradient_bytes));
  row("their moments on the device", double(p.moment_bytes),
      human_bytes(double(nf4.pages.peak_resident_bytes)));
  row("all of it", double(p.total()));
  row("fine-tuning everything in 16 bits: 12 bytes a weight",
      double(full_finetuning_bytes(base.parameter_count())));
  return table;
}

int64_t held_bytes(LanguageModel& model, const NF4Options& options) {
  const int64_t before = memory_counters().live_bytes;
  std::vector<NF4Linear> packed;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    if (slot->name != "lm_head") packed.emplace_back(static_cast<Linear&>(slot->projection()), options);
  }
  return memory_counters().live_bytes - before;
}

Json qlora_json(const std::vector<QloraMethod>& methods) {
  Json list = Json::array();
  for (const QloraMethod& m : methods) {
    list.push_back({{"name", m.name},
                    {"weight_error", m.error},
                    {"base_loss", m.base},
                    {"chat_loss", m.after},
                    {"merged_float", m.merged},
                    {"rounded", m.rounded},
                    {"new_facts", m.skills.new_facts},
                    {"old_facts", m.skills.old_facts},
                    {"requests", m.skills.requests}});
  }
  return list;
}

}  // namespace chalk
