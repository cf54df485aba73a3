// Windows over a long text and the sum of its negative log-likelihood.
#include "models/evaluate_text.h"

#include <algorithm>
#include <cmath>

#include "autograd/check.h"

namespace chalk {

std::vector<TextWindow> plan_windows(int64_t n, int64_t context, int64_t stride) {
  if (n < 2) throw UsageError(fmt::format("perplexity: the text has {} token(s); at least 2 are needed", n));
  if (context < 1 || stride < 1 || stride > context)
    throw UsageError(
        fmt::format("perplexity: stride {} and context {}; 1 <= stride <= context", stride, context));
  std::vector<TextWindow> windows;
  int64_t counted = 1;  // tokens 0 ... counted-1 need no more counting; the first has nothing before it
  for (int64_t begin = 0; counted < n; begin += stride) {
    const int64_t length = std::min(context, n - 1 - begin);
    windows.push_back({begin, length, counted});
    counted = begin + length + 1;
  }
  return windows;
}

double TextScore::perplexity() const {
  return std::exp(nll / double(tokens));
}

double TextScore::bits_per_byte(int64_t bytes) const {
  return nll / (std::log(2.0) * double(bytes));
}

TextScore score_text(const LogitsFunction& logits, int64_t V, const std::vector<int32_t>& ids,
                     const std::vector<TextWindow>& windows,
                     const std::function<void(const TextWindow&, const float* logits)>& seen) {
  for (int32_t id : ids)
    if (id < 0 || id >= V)
      throw UsageError(fmt::format("perplexity: token id {} is not in 0 ... {}", id, V - 1));
  TextScore score;
  for (const TextWindow& w : windows) {
    check(
        w.begin >= 0 && w.length >= 1 && w.begin + w.length < int64_t(ids.size()) && w.first_scored > w.begin,
        "perplexity: window {} + {} does not fit a text of {} tokens", w.begin, w.length, ids.size());
    const std::vector<int32_t> inputs(ids.begin() + w.begin, ids.begin() + w.begin + w.length);
    const std::vector<float> y = logits(inputs, 1, w.length);
    check(int64_t(y.size()) == w.length * V,
          "perplexity: the model gave {} logits for {} positions of {} words", y.size(), w.length, V);
    for (int64_t i = w.first_scored; i <= w.begin + w.length; i++) {
      score.nll -= log_softmax_at(y.data() + (i - 1 - w.begin) * V, V, ids[size_t(i)]);
      score.tokens++;
    }
    if (seen) seen(w, y.data());
  }
  return score;
}

}  // namespace chalk
