#pragma once
// What the tutorials on quantization-aware training share: a base model, fresh copies of it, and its text.

#include <memory>

#include "models/train.h"
#include "tutorials/support/base_model.h"

namespace chalk {

struct QatLab {
  Context& context;
  uint64_t seed;
  LoadedModel base;
  Corpus corpus;

  // The base model of a preset at a seed, trained first if need be; the text is the preset's.
  QatLab(const std::string& preset, uint64_t seed, Context& context)
      : context(context), seed(seed), base(base_model(preset, seed, context)) {
    TrainSettings settings = training_preset(preset);
    settings.documents = std::min<int64_t>(settings.documents, 20000);  // enough for the short runs here
    corpus = make_corpus(settings, seed);
  }

  // A copy of the base model, to be changed at will.
  std::unique_ptr<LanguageModel> fresh() { return make_model(to_checkpoint(*base.model), context.device); }

  // Nats per token on the first 40 validation batches (the world: 320 rows).
  double loss(LanguageModel& model) const {
    return validation_loss(model, std::min<int64_t>(40, corpus.validation_batches), corpus.validation);
  }
};

}  // namespace chalk
