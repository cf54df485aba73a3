#pragma once
// What the QLoRA tutorial measures, and its tables and plots.

#include "papers/finetuning/qlora.h"
#include "tutorials/support/finetuning.h"
#include "tutorials/support/plot.h"
#include "tutorials/support/program.h"
#include "tutorials/support/table.h"

namespace chalk {

// One way to store the base, and what came out: one number per seed.
struct QloraMethod {
  std::string name;
  BaseStorage storage = BaseStorage::FourBit;
  FourBit type = FourBit::NF4;
  uint64_t again =
      0;  // the same method, other adapters and another order of batches: their difference is noise

  std::vector<double> error = {};    // of the stored weights, see weight_error
  std::vector<double> base = {};     // loss on the base's own documents, before fine-tuning
  std::vector<double> after = {};    // loss on chat documents, after it
  std::vector<double> merged = {};   // the same, adapters merged into float weights
  std::vector<double> rounded = {};  // the same, merged and rounded to 4 bits
  SkillsOverSeeds skills = {};
  std::vector<double> losses = {};  // of the last seed's batches
  PageCounters pages = {};
  int64_t held_bytes = 0;  // by the allocator for the packed weights
};

// Σ (stored − original)² / Σ original² over all projections but lm_head.
double weight_error(LanguageModel& original, LanguageModel& stored);

// What the allocator hands out for the projections in 4 bits: they are packed beside the float model, counted, and dropped.
int64_t held_bytes(LanguageModel& model, const NF4Options& options);

LinePlot weight_error_plot(LanguageModel& base);  // over the block size, for the three code books
LinePlot learning_plot(const std::vector<QloraMethod>& methods);
Table qlora_table(const std::vector<QloraMethod>& methods);
Table memory_table(LanguageModel& base, const QloraOptions& options, const QloraMethod& measured);
Json qlora_json(const std::vector<QloraMethod>& methods);

}  // namespace chalk
