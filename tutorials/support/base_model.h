#pragma once
// The trained model that a paper's tutorial starts from: trained once, then kept.

#include <string>

#include "tutorials/support/training.h"

namespace chalk {

// The model that `train --preset PRESET --seed SEED` makes, with its tokenizer, on context.device. It is kept in
// runs/base/PRESET-seedSEED: trained there at the first call (resumed if an earlier call was stopped), loaded from there
// by every later one. "world" takes about 8 minutes on 2 cores, "world-small" 1.5.
// Throws UsageError for an unknown preset, Error when Ctrl-C stopped the training (what was trained is kept).
LoadedModel base_model(const std::string& preset, uint64_t seed, Context& context);

}  // namespace chalk
