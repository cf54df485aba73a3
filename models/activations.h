#pragma once
// Activations of many texts at one token each, as rows for nn/probe.h; logits at the end of prompts; and what an edit
// of the model costs on ordinary text. Texts are batched by equal length, so no padding is needed anywhere: the last
// token of a text is the last column of its batch.

#include <map>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "nn/probe.h"

namespace chalk {

using Ids = std::vector<int32_t>;

struct TextGroup {
  std::vector<int64_t> texts;  // which ones, in order of the batch's rows
  IntTensor ids;               // (B, T)
};
// Throws UsageError on an empty text.
std::vector<TextGroup> group_by_length(const std::vector<Ids>& texts, int64_t max_rows = 64);

// The residual stream after `depth` blocks: depth 0 is what enters the first block, L what leaves the last one (before
// the final norm). This is the one way in which layers are counted in all steering papers here.
std::string residual_name(const LanguageModel& model, int64_t depth);  // "layers.1.resid_post" for depth 2
int64_t block_count(LanguageModel& model);

// Row i of result[name]: the activation `name` of text i at its token number −from_end (1 = the last one).
// Throws UsageError when a text is shorter than from_end.
std::map<std::string, Samples> activations_at(LanguageModel& model, const std::vector<Ids>& texts,
                                              const std::vector<std::string>& names, int64_t from_end = 1);
// result[depth], depth = 0 … L: the residual streams at that token.
std::vector<Samples> residuals_at(LanguageModel& model, const std::vector<Ids>& texts, int64_t from_end = 1);

// Row i: the logits (V) that follow text i.
Samples next_logits(LanguageModel& model, const std::vector<Ids>& texts);
// softmax over all of the vocabulary, in double
std::vector<double> next_probabilities(const float* logits, int64_t V);

// What an intervention costs: documents are scored by the plain model once; measure() scores them again with whatever
// hooks or weights the model has by then.
//   loss = mean −ln q(token)       kl = mean Σ_v p_v ln(p_v / q_v),  p plain, q edited, mean over predicted tokens
struct CostMeter {
  CostMeter(LanguageModel& model, std::vector<Ids> documents);
  struct Cost {
    double loss = 0, kl = 0;  // nats per token; perplexity is e^loss
  };
  Cost measure() const;

  double plain_loss = 0;
  int64_t tokens = 0;  // predicted ones

 private:
  LanguageModel& model;
  std::vector<TextGroup> groups;
  std::vector<std::vector<float>> log_p;  // of each group, (B, T − 1, V)
};

}  // namespace chalk
