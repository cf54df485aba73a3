// Choosing the channels, and folding 1/factor instead of a scale.

#include "models/outliers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/folding.h"

namespace chalk {
namespace {

// `count` different numbers below n.
std::vector<int64_t> choose(int64_t n, int64_t count, uint64_t seed) {
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  for (int64_t i = 0; i < count; ++i) {  // Fisher–Yates, stopped after `count`
    const int64_t j = i + int64_t(random_word(seed, uint64_t(i)) % uint64_t(n - i));
    std::swap(all[size_t(i)], all[size_t(j)]);
  }
  all.resize(size_t(count));
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

InjectedOutliers inject_outliers(LanguageModel& model, const OutlierOptions& options) {
  if (!(options.fraction > 0 && options.fraction < 1))
    throw UsageError(fmt::format("outliers: the fraction {} is not between 0 and 1", options.fraction));
  if (!(options.factor > 1 && options.factor < 1e4f))
    throw UsageError(fmt::format("outliers: the factor {} is not between 1 and 10000", options.factor));
  const int64_t C = model.width();
  const int64_t count = std::max<int64_t>(1, std::llround(options.fraction * double(C)));
  InjectedOutliers injected{.options = options, .channels = choose(C, count, options.seed), .norms = {}};
  std::vector<float> s(size_t(C), 1);
  for (int64_t channel : injected.channels) s[size_t(channel)] = 1 / options.factor;
  for (size_t i = 0; i < model.blocks().size(); ++i) {
    for (const FoldingGroup& group : folding_groups(model, int64_t(i))) {
      if (group.target != FoldingGroup::Target::Norm) continue;
      fold_scales(group, s);  // divides the norm by 1/factor
      injected.norms.push_back(group.input);
    }
  }
  return injected;
}

std::string InjectedOutliers::describe() const {
  return fmt::format(
      "outliers were injected: channels {} are {} times larger after each of {} norms, and the columns that "
      "read them as much "
      "smaller; the function is unchanged",
      fmt::join(channels, " "), options.factor, norms.size());
}

}  // namespace chalk
