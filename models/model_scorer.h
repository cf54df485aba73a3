#pragma once
// The bridge between evaluation (models/evaluate*.h, which know only a function from ids to logits) and a model.

#include "models/evaluate.h"
#include "models/language_model.h"

namespace chalk {

// ids (B, T) -> logits (B, T, V), recording nothing. The model must outlive it.
inline LogitsFunction logits_of(LanguageModel& model) {
  return [&model](const std::vector<int32_t>& ids, int64_t B, int64_t T) {
    NoGrad no_grad;
    return model.forward({{B, T}, ids}).to_vector();
  };
}

inline ModelScorer make_scorer(LanguageModel& model) {
  return ModelScorer(logits_of(model), model.vocab_size(), model.context_length());
}

}  // namespace chalk
