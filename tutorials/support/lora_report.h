#pragma once
// What the LoRA tutorial measures, and its table and plot.

#include "tutorials/support/finetuning.h"
#include "tutorials/support/results.h"

namespace chalk {

// One way to choose what learns; one number per seed. rank 0: every parameter.
struct LoraMethod {
  std::string name;
  int64_t rank;
  std::vector<std::string> targets = {};
  double alpha = 16;
  int64_t learning = 0;
  std::vector<double> after = {}, merged = {};
  SkillsOverSeeds skills = {};
  double merge_error = 0;
  bool base_untouched = true;
};

Table lora_table(const std::vector<LoraMethod>& methods);
LinePlot lora_plot(const std::vector<LoraMethod>& methods);  // loss over the number of parameters that learn
Json lora_json(const std::vector<LoraMethod>& methods);

}  // namespace chalk
