#pragma once
// Data-parallel training: every rank holds the whole model and works on its own rows of each batch.
//
//   L = Σ_r L_r      L_r = Σ_{rows of rank r} weight · CE / N      N = positions of the WHOLE batch, the same on every rank
//   dL/dw = Σ_r dL_r/dw                                            one all-reduce per parameter
//
// Because each rank divides by N before it sums, the sum is the whole batch's gradient even when the ranks have different
// numbers of rows. The mean of the ranks' own means is not: a rank with fewer positions would count each of them more.
// After the sum all ranks hold the same gradient, bit for bit; so their optimisers make the same step, and the weights,
// equal at the start, stay equal without ever being sent again.

#include <algorithm>

#include "autograd/check.h"
#include "models/text/loader.h"
#include "nn/module.h"
#include "nn/ranks.h"

namespace chalk {

// The rows of a batch that one rank works on: neighbours, in the order of the ranks. When size does not divide B, the first
// B mod size ranks have one row more. Throws UsageError when there are fewer rows than ranks.
inline Batch rows_of_rank(const Batch& whole, const Ranks& ranks) {
  if (ranks.size == 1) return whole;
  if (whole.B < ranks.size) {
    throw UsageError(
        fmt::format("a batch of {} rows cannot be shared by {} ranks; raise --batch", whole.B, ranks.size));
  }
  const int64_t share = whole.B / ranks.size, longer = whole.B % ranks.size, r = ranks.rank;
  const int64_t first = r * share + std::min(r, longer);
  Batch part;
  part.B = share + (r < longer ? 1 : 0);
  part.T = whole.T;
  const auto cut = [&](const auto& values) {
    const auto begin = values.begin() + first * whole.T;
    return std::decay_t<decltype(values)>(begin, begin + part.B * whole.T);
  };
  part.ids = cut(whole.ids);
  part.targets = cut(whole.targets);
  part.weights = cut(whole.weights);
  return part;
}

// grad() of every parameter = Σ_ranks grad(). A parameter that some rank did not use counts as zero there; one that no rank
// used keeps no gradient, so that the optimiser goes on skipping it.
inline void sum_gradients(const std::vector<NamedTensor>& parameters, const Ranks& ranks) {
  if (ranks.size == 1) return;
  std::vector<float> used;  // on how many ranks
  for (const NamedTensor& p : parameters) used.push_back(p.tensor.has_grad() ? 1.0f : 0.0f);
  const Tensor counts = Tensor::from({int64_t(used.size())}, used);
  ranks.sum(counts);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (counts.data()[i] > 0) ranks.sum(parameters[i].tensor.grad());
  }
}

// Before the first step: ranks on different machines may have drawn different last bits from the same seed.
inline void copy_weights_from_first(const std::vector<NamedTensor>& parameters, const Ranks& ranks) {
  for (const NamedTensor& p : parameters) ranks.copy_from_first(p.tensor.detach());
}

}  // namespace chalk
