#pragma once
// Perplexity of a text that may be longer than the model's context: which windows to run, and what to add up.
#include <cstdint>
#include <functional>
#include <vector>

#include "models/evaluate.h"

namespace chalk {

// Inputs ids[begin] ... ids[begin + length - 1] predict ids[begin + 1] ... ids[begin + length]; of these the tokens from index
// `first_scored` on are counted. The earlier ones only serve as context: another window has counted them.
struct TextWindow {
  int64_t begin, length, first_scored;
};

// Windows of at most `context` inputs that begin every `stride` tokens; together they count every token of n but the first
// exactly once. A text of up to context + 1 tokens is one window. stride = context: disjoint windows, fastest. A smaller
// stride gives every token but the first few at least context - stride tokens to look at, and so a lower perplexity.
// Throws UsageError if n < 2 (nothing to predict) or not 1 <= stride <= context.
std::vector<TextWindow> plan_windows(int64_t n, int64_t context, int64_t stride);

struct TextScore {
  double nll = 0;                             // Σ -ln p over the counted tokens, nats
  int64_t tokens = 0;                         // how many
  double perplexity() const;                  // exp(nll / tokens)
  double bits_per_byte(int64_t bytes) const;  // nll / (ln 2 · bytes): comparable across tokenizers
};

// Runs the windows one by one. `seen` (may be empty) gets each window's logits, (length, V), when it has been counted.
// Throws UsageError on an id outside 0 ... V - 1.
TextScore score_text(const LogitsFunction& logits, int64_t V, const std::vector<int32_t>& ids,
                     const std::vector<TextWindow>& windows,
                     const std::function<void(const TextWindow&, const float* logits)>& seen = {});

}  // namespace chalk
