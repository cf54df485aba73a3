#pragma once
// Generation: the next token from the last row of logits, over and over, with a KV cache.

#include <functional>
#include <vector>

#include "models/language_model.h"

namespace chalk {

struct SampleOptions {
  int64_t max_new_tokens = 100;
  double temperature = 1;     // 0 = greedy (the first of equal maxima)
  int64_t top_k = 0;          // keep the k most probable tokens; 0 = all
  double top_p = 1;           // nucleus (Holtzman et al. 2020): keep the smallest set with this much probability
  uint64_t seed = 0;          // token i draws number i of this stream
  bool slide = false;         // past the context: look at the last `context` ids, positions renumbered from 0
  std::vector<int32_t> stop = {};  // ids that end the text; the one that did is the last id returned
};

// The index that these options choose from logits (V); `draw` in [0, 1) decides.
int32_t sample_token(const float* logits, int64_t V, const SampleOptions& options, double draw);

// New ids after `prompt`. on_token, if given, is called with each as it comes; returning false ends the text.
// Throws UsageError on an empty prompt, an id outside the vocabulary, or a text longer than the context without slide.
std::vector<int32_t> generate(LanguageModel& model, const std::vector<int32_t>& prompt, const SampleOptions& options,
                              const std::function<bool(int32_t id)>& on_token = nullptr);

}  // namespace chalk
