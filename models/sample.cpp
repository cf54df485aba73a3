// Greedy, temperature, top-k and nucleus sampling; decoding with the cache, and past the context without it.

#include "models/sample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/check.h"
#include "kernels/philox.h"

namespace chalk {

int32_t sample_token(const float* logits, int64_t V, const SampleOptions& options, double draw) {
  const int32_t best = int32_t(std::max_element(logits, logits + V) - logits);
  if (options.temperature == 0) return best;

  // Candidates from the most to the least probable; equal logits in order of id, so that a seed gives one text.
  std::vector<int32_t> order(size_t(V), 0);
  std::iota(order.begin(), order.end(), 0);
  const int64_t keep = options.top_k > 0 ? std::min(options.top_k, V) : V;
  std::partial_sort(order.begin(), order.begin() + keep, order.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  order.resize(size_t(keep));

  // p ∝ e^((logit − max) / temperature)
  std::vector<double> p;
  for (int32_t id : order)
    p.push_back(std::exp((double(logits[id]) - double(logits[best])) / options.temperature));
  double total = std::accumulate(p.begin(), p.end(), 0.0);
  if (options.top_p < 1) {
    double mass = 0;
    size_t count = 0;
    while (count < p.size() && mass < options.top_p * total) mass += p[count++];
    p.resize(std::max<size_t>(count, 1));
    total = std::accumulate(p.begin(), p.end(), 0.0);
  }
  double remaining = draw * total;
  for (size_t i = 0; i + 1 < p.size(); ++i) {
    remaining -= p[i];
    if (remaining < 0) return order[i];
  }
  return order[p.size() - 1];
}

std::vector<int32_t> generate(LanguageModel& model, const std::vector<int32_t>& prompt,
                              const SampleOptions& options, const std::function<bool(int32_t id)>& on_token) {
  const int64_t context = model.context_length(), V = model.vocab_size();
  if (prompt.empty()) throw UsageError("the prompt is empty: there is nothing to continue");
  for (int32_t id : prompt) {
    if (id < 0 || id >= V)
      throw UsageError(fmt::format("id {} of the prompt is outside the vocabulary [0, {})", id, V));
  }
  const int64_t length = int64_t(prompt.size()) + options.max_new_tokens;
  if (length > context && !options.slide) {
    throw UsageError(
        fmt::format("{} prompt tokens and {} new ones do not fit the model's context of {}; ask for fewer, "
                    "or let the window slide (--window slide)",
                    prompt.size(), options.max_new_tokens, context));
  }

  NoGrad no_grad;
  KVCache cache = model.make_cache(std::min(length, context));
  std::vector<int32_t> ids = prompt, fresh;
  for (int64_t i = 0; i < options.max_new_tokens; ++i) {
    Tensor logits;  // (1, T, V) of the tokens that have not been seen yet
    if (int64_t(ids.size()) <= context) {
      const std::vector<int32_t> unseen(ids.begin() + cache.position, ids.end());
      logits = model.forward({{1, int64_t(unseen.size())}, unseen}, &cache);
    } else {  // every position has moved: nothing in the cache can be used again
      logits = model.forward({{1, context}, {ids.end() - context, ids.end()}});
    }
    const Tensor host = logits.to(Device::CPU);
    const float* last = host.data() + host.numel() - V;
    const int32_t id = sample_token(last, V, options, random_uniform(options.seed, uint64_t(i)));
    ids.push_back(id);
    fresh.push_back(id);
    if (on_token && !on_token(id)) break;
    if (std::find(options.stop.begin(), options.stop.end(), id) != options.stop.end()) break;
  }
  return fresh;
}

}  // namespace chalk
