#pragma once
// The differ: the same model on two devices, named activation by named activation. "The logits are off" becomes "on cuda,
// layers.3.attn.heads is the first activation that is wrong", and with gradients the first one on the way back.
//
// Each activation is compared, then the second model goes on with the first one's numbers. So errors do not pile up, the
// tolerance is that of the one or two ops between two names, and every wrong stretch is named, not only the first.

#include <string>
#include <vector>

#include "models/language_model.h"

namespace chalk {

struct ActivationDifference {
  std::string name;       // "layers.3.attn.heads"; "logits" at the end; or a parameter, for its gradient
  bool gradient = false;  // dL/d(activation) or dL/d(parameter), in the order in which backward computes them
  double share =
      0;  // the largest |a − b| / tolerance; above 1 they disagree; ∞ when only one of them is NaN or infinite
  int64_t index = 0;   // where that is
  float a = 0, b = 0;  // the two numbers there

  bool disagrees() const { return !(share <= 1); }
};

// Runs both models on ids (B, T). Gradients are those of the mean loss of predicting the next token; both models' parameter
// gradients are cleared before and after. Hooks that the models already have are respected: an edit is part of the model.
// Throws Error when the two do not have the same activations or parameters.
std::vector<ActivationDifference> compare_devices(LanguageModel& a, LanguageModel& b, const IntTensor& ids,
                                                  bool gradients = false);

// The first entry that disagrees, or null.
const ActivationDifference* first_disagreement(const std::vector<ActivationDifference>& differences);

}  // namespace chalk
