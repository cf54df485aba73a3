// AWQ, beside the method: its options' checks, AutoAWQ's weight statistic, clipping applied, and which columns matter.

#include "papers/quantization/awq.h"

namespace chalk {

std::vector<float> weight_magnitude(const FoldingGroup& group, const AwqOptions& options) {
  const int64_t in = group.in_features(), g = options.group_size > 0 ? options.group_size : in;
  std::vector<double> total(static_cast<size_t>(in));
  int64_t rows = 0;
  for (Slot* reader : group.readers) {
    const std::vector<float> w = linear_in(*reader).weight.to_vector();  // (out, in)
    rows += int64_t(w.size()) / in;
    for (size_t row = 0; row < w.size(); row += size_t(in)) {
      for (int64_t begin = 0; begin < in; begin += g) {
        const int64_t end = std::min(begin + g, in);
        double largest = 0;
        for (int64_t c = begin; c < end; ++c)
          largest = std::max(largest, std::abs(double(w[row + size_t(c)])));
        for (int64_t c = begin; c < end; ++c)
          total[size_t(c)] += std::abs(w[row + size_t(c)]) / (largest + 1e-6);
      }
    }
  }
  std::vector<float> mean(total.size());
  for (size_t c = 0; c < total.size(); ++c) mean[c] = float(total[c] / double(rows));
  return mean;
}

void check_options(const AwqOptions& options) {
  const bool sound = options.group_size != 0 && options.group_size >= -1 && options.alphas > 0 &&
                     options.clip_grid > 0 && options.clip_max_shrink >= 0 && options.clip_max_shrink <= 1 &&
                     options.clip_tokens > 0;
  if (!sound) throw UsageError("awq: a group size, a number of candidates or a share is out of range");
}

void check_groups(const FoldingGroup& group, const AwqOptions& options) {
  const int64_t in = group.in_features(), g = options.group_size;
  if (g < 1 || options.short_groups || in % g == 0) return;
  throw UsageError(
      fmt::format("awq: groups of {} do not divide the {} inputs of {}; choose another group size, −1 for "
                  "whole rows, or allow a short last group",
                  g, in, group.readers.front()->name));
}

std::vector<float> clip_inputs(const Tensor& x, const std::vector<float>& s, int64_t wanted) {
  const std::vector<float> all = x.to_vector();
  const size_t in = size_t(x.dim(-1)), tokens = all.size() / in;
  const size_t stride = std::max<size_t>(1, tokens / size_t(wanted));
  std::vector<float> kept;
  for (size_t t = 0; t < tokens; t += stride)
    for (size_t c = 0; c < in; ++c) kept.push_back(s.empty() ? all[t * in + c] : all[t * in + c] / s[c]);
  return kept;
}

std::pair<int64_t, int64_t> clip_weight(Slot& slot, const std::vector<float>& x, const AwqOptions& options) {
  const Tensor weight = linear_in(slot).weight;
  const int64_t columns = weight.dim(1), g = options.group_size > 0 ? options.group_size : columns;
  const int64_t groups = (columns + g - 1) / g;
  std::vector<float> w = weight.to_vector();
  const ClipSearch search = search_clip(w, x, columns, options);
  std::vector<bool> clipped(search.bounds.size());
  for (size_t k = 0; k < w.size(); ++k) {
    const size_t cell = k / size_t(columns) * size_t(groups) + k % size_t(columns) / size_t(g);
    const float inside = std::clamp(w[k], -search.bounds[cell], search.bounds[cell]);
    if (inside != w[k]) clipped[cell] = true;
    w[k] = inside;
  }
  weight.copy_from(Tensor::from(weight.shape, w, weight.device()));
  return {std::count(clipped.begin(), clipped.end(), true), int64_t(clipped.size())};
}

std::vector<int64_t> salient_channels(Salience salience, const std::vector<float>& a,
                                      const std::vector<float>& w, double share, uint64_t seed) {
  const size_t in = a.size();
  std::vector<double> score(a.begin(), a.end());
  if (salience == Salience::WeightNorm) std::fill(score.begin(), score.end(), 0);
  for (size_t k = 0; salience == Salience::WeightNorm && k < w.size(); ++k)
    score[k % in] += double(w[k]) * w[k];
  for (size_t c = 0; salience == Salience::Random && c < in; ++c) score[c] = random_uniform(seed, c);
  std::vector<int64_t> order(in);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t i, int64_t j) { return score[size_t(i)] > score[size_t(j)]; });
  order.resize(size_t(std::max<int64_t>(1, std::llround(share * double(in)))));
  return order;
}

void round_except_salient(LanguageModel& model, const IntTensor& calibration, Salience salience, double share,
                          const AwqOptions& options, uint64_t seed) {
  NoGrad no_grad;
  std::vector<Tensor> next;
  for (BlockWalk walk(model, {calibration}); !walk.done(); walk.advance(std::move(next))) {
    const std::vector<FoldingGroup> groups = folding_groups(model, walk.index);
    const std::map<std::string, Tensor> inputs = record_inputs(walk, groups, next);
    for (const FoldingGroup& group : groups) {
      const std::vector<float> a = activation_magnitude(inputs.at(group.input));
      for (Slot* reader : group.readers) {
        const Tensor weight = linear_in(*reader).weight;
        const std::vector<float> w = weight.to_vector();
        std::vector<float> w_hat = rounded(w, weight.dim(0), weight.dim(1), options);
        for (int64_t c : salient_channels(salience, a, w, share, derive_seed(seed, uint64_t(walk.index))))
          for (size_t k = size_t(c); k < w.size(); k += a.size()) w_hat[k] = w[k];
        weight.copy_from(Tensor::from(weight.shape, w_hat, weight.device()));
      }
    }
  }
}

}  // namespace chalk
