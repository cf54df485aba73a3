#pragma once
// Activation outliers made on purpose. Models of billions of parameters have a few channels whose activations are tens of
// times larger than the rest, in every block the same ones; small models have none, and then methods against outliers
// have nothing to do. This puts them in without changing the function: gains (and biases) of the norms · factor, columns
// of the products that read them / factor ("inverse smoothing"). With a power of two as the factor every product of
// two numbers is exact, so that the model's logits stay the same to the last bit.

#include <cstdint>
#include <string>
#include <vector>

#include "models/language_model.h"

namespace chalk {

struct OutlierOptions {
  double fraction = 0.02;  // of the channels of every block's two norms, in (0, 1); at least one channel
  float factor = 16;       // > 1: how much larger they get
  uint64_t seed = 1;       // which channels
};

struct InjectedOutliers {
  OutlierOptions options;
  std::vector<int64_t> channels;   // the same in all norms, ascending
  std::vector<std::string> norms;  // hooks: "layers.0.input_layernorm", ...

  // "outliers were injected: channels 3 17 of 128 in 8 norms are 16 times larger, ..." A result must print it.
  std::string describe() const;
};

// Throws UsageError for options out of range, Error for slots that hold no Linear any more.
InjectedOutliers inject_outliers(LanguageModel& model, const OutlierOptions& options);

}  // namespace chalk
