#include "tutorials/support/lora_report.h"

namespace chalk {

LinePlot lora_plot(const std::vector<LoraMethod>& methods) {
  LinePlot plot{.title = "Loss against what learns",
                .subtitle = "chat documents, nats per reply token",
                .x = {.label = "parameters that learn", .log = true},
                .y = {.label = "validation loss"}};
  Series all{.name = "LoRA on every projection", .x = {}, .y = {}, .points = true};
  Series qv{.name = "LoRA on q and v only", .x = {}, .y = {}, .line = false, .points = true};
  for (const LoraMethod& m : methods) {
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

Table lora_table(const std::vector<LoraMethod>& methods) {
  Table table{
      .header = {"what learns", "parameters", "chat loss", "merged", "new facts", "old facts", "requests"}};
  for (const LoraMethod& m : methods) {
    table.rows.push_back({m.name, std::to_string(m.learning), spread(m.after),
                          m.rank > 0 ? spread(m.merged) : "", spread(m.skills.new_facts, 2),
                          spread(m.skills.old_facts, 2), spread(m.skills.requests, 2)});
  }
  return table;
}

Json lora_json(const std::vector<LoraMethod>& methods) {
  Json list = Json::array();
  for (const LoraMethod& m : methods) {
    list.push_back({{"name", m.name},
                    {"parameters", m.learning},
                    {"chat_loss", m.after},
                    {"merged", m.merged},
                    {"new_facts", m.skills.new_facts},
                    {"old_facts", m.skills.old_facts},
                    {"requests", m.skills.requests}});
  }
  return list;
}

}  // namespace chalk
