#pragma once
// AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration
// Lin, Tang, Tang, Yang, Chen, Wang, Xiao, Dang, Gan, Han. MLSys 2024, arXiv 2306.00978. Code: mit-han-lab/llm-awq.
//
// 1. Claim. Rounding weights to 3 or 4 bits hurts in few places: the columns of W that multiply large activations, about
//    one in a hundred. They need not stay in fp16. It is enough to enlarge such a column before rounding and to shrink the
//    activation by the same factor: the column's rounding error, measured at the output, shrinks with it. How much to
//    enlarge is one number α per group of products, found by trying twenty. No gradient, no weight is fitted to data.
//
// 2. Idea.
//      for each group of products that read the same x:
//        for α in {0, 0.05, …, 0.95}:   s = mean|x|^α
//          error[α] = ‖module with Q(W·diag(s))·diag(s)⁻¹ (x) − module(x)‖²       // the real output, not the weights
//        with the best α:   W ← W·diag(s),   the layer before ← itself / s         // the same function
//      clip every group of weights where that lowers its own output error;   round everything to nearest
//
// 3. Glossary.
//      W (O × C), X (tokens × C)   weight (out, in), x (tokens, in)
//      s_X, a                      activation_magnitude(): mean |x| of each channel. The authors' code says "x_max"
//      s, α                        scales, alpha
//      Q, Δ, N                     rounded(), step, bits
//      g                           group_size: inputs of one row that share a scale and a zero
//
// 4. Equations, numbered as in the first arXiv versions, and where they are proved.
//   Eq. (1)  Q(w) = Δ·Round(w/Δ), Δ = max|w| / 2^(N−1)       test: AwqTest.StepOfTheAnalysis
//   Eq. (2)  Q(w·s)·(x/s): error Δ'·RoundErr/s              test: AwqTest.ScalingOneColumnShrinksItsError
//   Eq. (3)  s* = argmin ‖Q(W·diag(s))(diag(s)⁻¹X) − WX‖    test: AwqTest.ChosenLossIsNeverAboveRounding
//   Eq. (4)  s = s_X^α, α* = argmin over α ∈ [0, 1]         test: AwqTest.ScalesAreNormalised
//
// 5. Paper says / code does / why.
//    - (1) is a symmetric grid; the authors' code and this one round on an asymmetric one (Grid::AwqAsymmetric:
//      nn/quantizer.h). (1) is used here for the analysis of scaling_effect() only.
//    - (4) allows α = 1; the authors' code stops at 0.95. So does this.
//    - The code divides s by √(max s · min s). In exact arithmetic a common factor changes nothing: Q(cW)/c = Q(W).
//    - "Activation" is the mean |x|, not the largest: a channel that is large once does not count.
//    - AutoAWQ's rule, s = a^α / (w̄^(1−α) + 1e-4) with w̄ the mean of |w| / max|w of its group|, is Rule::Duo ("duo
//      scaling"). There α = 0 is not plain rounding, so nothing guarantees that the chosen loss is not above it.
//    - Which layer takes 1/s: models/folding.h. Two products have no such layer. GPT-2's mlp.c_proj stands behind a GELU
//      and gets an explicit division, as in the authors' code for BLOOM and MPT (scale_after_activation = false leaves it
//      out); o_proj under GQA is left out, because one row of v_proj feeds several heads. The authors compare the shapes
//      of v_proj and o_proj instead of the numbers of heads; it is the same unless H·D ≠ C.
//    - GPT-2 is in neither of the authors' tables. Its groups are inspected as OPT's, which it resembles most: attention
//      as a whole, the other three by themselves. Its fused c_attn counts as query and key: no clipping.
//    - Clip errors use a Gram matrix per group: Σ_t (x_t·d)² = dᵀ(XᵀX)d. The same number, 512 / g times cheaper.
//    - With fewer than 512 calibration tokens the authors' stride is 0 and the program stops; here it is at least 1.
//    - Scales are rounded to fp16 before the last coding, because files hold fp16: the packed model is this model.
//
// 7. The tests prove: folding changes no output (all rows of the table); the chosen loss is not above rounding's; scales for
//    α = 0 are 1, and max · min = 1; constant activations give s = 1; Q(cW)/c = Q(W); clipping never raises its error and
//    leaves queries and keys alone; codes are in range; both packings hold the same matrix; groups and GQA are honoured.

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "autograd/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/philox.h"
#include "models/calibration.h"
#include "models/folding.h"
#include "models/io/awq_format.h"
#include "nn/quantizer.h"

namespace chalk {

struct AwqOptions {
  int bits = 4;               // 3 or 4 in the paper; files hold 4
  int64_t group_size = 128;   // −1: the whole row. A weight costs bits + (16 + bits)/g bits
  bool short_groups = false;  // let a row end with a shorter group; the authors refuse, and so do the files

  enum class Rule { Activation, Duo };
  Rule rule = Rule::Activation;
  bool scale_search = true;            // false: s = 1 everywhere
  int alphas = 20;                     // α = 0, 1/alphas, …, 1 − 1/alphas
  bool scale_after_activation = true;  // GPT-2's mlp.c_proj: divide behind the GELU; false: leave it unscaled

  bool clip_search = true;       // false, with scale_search = false: plain round-to-nearest
  int clip_grid = 20;            // bounds max|w|·(1 − i/clip_grid) …
  double clip_max_shrink = 0.5;  // … for i < clip_max_shrink · clip_grid: 1.00, 0.95, …, 0.55
  int64_t clip_tokens = 512;     // about so many of the tokens are looked at
};

inline QuantizerOptions awq_grid(const AwqOptions& options) {
  return {.bits = options.bits, .grid = Grid::AwqAsymmetric, .group_size = options.group_size};
}

// ---- Q, and the loss of a scale ----

// Q(w) of a matrix (rows, columns), back in float.
inline std::vector<float> rounded(const std::vector<float>& w, int64_t rows, int64_t columns,
                                  const AwqOptions& options) {
  return dequantize(round_to_nearest(w.data(), rows, columns, awq_grid(options)));
}

// W' = Q(W·diag(s))·diag(s)⁻¹: what the product computes when its input is divided by s.
inline std::vector<float> scaled_and_rounded(std::vector<float> w, int64_t rows, const std::vector<float>& s,
                                             const AwqOptions& options) {
  const size_t columns = s.size();
  for (size_t k = 0; k < w.size(); ++k) w[k] *= s[k % columns];
  w = rounded(w, rows, int64_t(columns), options);
  for (size_t k = 0; k < w.size(); ++k) w[k] /= s[k % columns];  // Eq. (2): Q(w·s)·(x/s) = (Q(w·s)/s)·x
  return w;
}

inline double mean_square_difference(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  double total = 0;
  for (size_t i = 0; i < x.size(); ++i) total += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
  return total / double(x.size());
}

// ‖module(x) with Q(W·diag(s))·diag(s)⁻¹ in place of W − y‖² / numbers, W being all the group's products. The others of the
// module stay float, and the weights come back as they were.
inline double loss_of_scales(const FoldingGroup& group, const Tensor& x, const Tensor& y,
                             const std::vector<float>& s, const AwqOptions& options) {
  std::vector<Tensor> original;
  for (Slot* reader : group.readers) {
    const Tensor weight = linear_in(*reader).weight;
    original.push_back(weight.clone());
    const std::vector<float> w = scaled_and_rounded(weight.to_vector(), weight.dim(0), s, options);
    weight.copy_from(Tensor::from(weight.shape, w, weight.device()));
  }
  const double loss = mean_square_difference(group.forward(x), y);  // Eq. (3)
  for (size_t i = 0; i < original.size(); ++i) linear_in(*group.readers[i]).weight.copy_from(original[i]);
  return loss;
}

// ---- scale search ----

// a_c = mean over tokens of |x_c|; x (..., in).
inline std::vector<float> activation_magnitude(const Tensor& x) {
  const std::vector<float> numbers = x.to_vector();
  const size_t in = size_t(x.dim(-1)), tokens = numbers.size() / in;
  std::vector<double> total(in);
  for (size_t k = 0; k < numbers.size(); ++k) total[k % in] += std::abs(numbers[k]);
  std::vector<float> a(in);
  for (size_t c = 0; c < in; ++c) a[c] = float(total[c] / double(tokens));
  return a;
}

// w̄_c = mean over the rows of all the group's products of |w| / (max|w| of its group + 1e-6). For Rule::Duo only.
std::vector<float> weight_magnitude(const FoldingGroup& group, const AwqOptions& options);

// s = max(a^α, 1e-4) / √(max s · min s). With w̄ (Rule::Duo): s = max(a^α / (w̄^(1−α) + 1e-4), 1e-4), normalised likewise.
inline std::vector<float> awq_scales(const std::vector<float>& a, const std::vector<float>& w_bar,
                                     double alpha) {
  std::vector<double> s(a.size());
  for (size_t c = 0; c < a.size(); ++c) {
    s[c] = std::pow(double(a[c]), alpha);  // Eq. (4)
    if (!w_bar.empty()) s[c] /= std::pow(double(w_bar[c]), 1 - alpha) + 1e-4;
    s[c] = std::max(s[c], 1e-4);  // a channel that is always 0 would otherwise be divided by 0
  }
  const auto [smallest, largest] = std::minmax_element(s.begin(), s.end());
  const double norm = std::sqrt(*smallest * *largest);
  std::vector<float> normalised(s.size());
  for (size_t c = 0; c < s.size(); ++c) normalised[c] = float(s[c] / norm);
  return normalised;
}

struct ScaleSearch {
  std::string input, inspected;  // hook of the activation; module whose output was looked at
  bool applied = false;          // false: no layer could take 1/s
  std::vector<double> alphas = {},
                      losses = {};  // tried, in order; losses[0] is plain rounding (Rule::Activation)
  double alpha = 0, loss = 0;       // chosen
  std::vector<float> scales = {};   // (in), of the chosen alpha
};

// Tries every α on the group's own inputs x (B, T, in); the first of equally good ones wins.
inline ScaleSearch search_scales(const FoldingGroup& group, const Tensor& x, const AwqOptions& options) {
  const bool duo = options.rule == AwqOptions::Rule::Duo;
  const std::vector<float> a = activation_magnitude(x);
  const std::vector<float> w_bar = duo ? weight_magnitude(group, options) : std::vector<float>{};
  const Tensor y = group.forward(x);
  ScaleSearch search{.input = group.input, .inspected = group.inspected};
  for (int k = 0; k < options.alphas; ++k) {
    const double alpha = double(k) / options.alphas;
    const std::vector<float> s = awq_scales(a, w_bar, alpha);
    const double loss = loss_of_scales(group, x, y, s, options);
    search.alphas.push_back(alpha);
    search.losses.push_back(loss);
    if (k > 0 && !(loss < search.loss)) continue;
    search.alpha = alpha, search.loss = loss, search.scales = s;
  }
  return search;
}

// ---- clip search ----

struct ClipSearch {
  std::vector<float> bounds;              // (rows, groups): weights are clamped to ±bound
  std::vector<double> errors, unclipped;  // (rows, groups): with that bound, and with max|w|
};

// G = XᵀX / tokens of the inputs begin … end − 1; x (tokens, in). A mean over tokens: error = dᵀGd.
inline std::vector<double> gram(const std::vector<float>& x, int64_t in, int64_t begin, int64_t end) {
  const size_t g = size_t(end - begin), tokens = x.size() / size_t(in);
  std::vector<double> G(g * g);
  for (size_t t = 0; t < tokens; ++t) {
    const float* x_t = x.data() + t * size_t(in) + begin;
    for (size_t i = 0; i < g; ++i)
      for (size_t j = 0; j < g; ++j) G[i * g + j] += double(x_t[i]) * x_t[j] / double(tokens);
  }
  return G;
}

// mean over tokens of (x·ŵ − x·w)² with ŵ = Q(clamp(w, −bound, bound)): the part of one group (n weights) in one output.
inline double clip_error(const float* w, int64_t n, float bound, const std::vector<double>& G,
                         const AwqOptions& options) {
  std::vector<float> clamped(w, w + n);
  for (float& value : clamped) value = std::clamp(value, -bound, bound);
  const Scale grid = find_scale(clamped.data(), n, {.bits = options.bits, .grid = Grid::AwqAsymmetric});
  std::vector<double> d(static_cast<size_t>(n));  // ŵ − w
  for (size_t i = 0; i < d.size(); ++i) d[i] = double(round_to_grid(clamped[i], grid)) - w[i];
  double error = 0;
  for (size_t i = 0; i < d.size(); ++i) {
    double row = 0;
    for (size_t j = 0; j < d.size(); ++j) row += G[i * d.size() + j] * d[j];
    error += d[i] * row;
  }
  return error;
}

// The best bound for every (row, group) of w (rows, columns) on inputs x (tokens, columns).
inline ClipSearch search_clip(const std::vector<float>& w, const std::vector<float>& x, int64_t columns,
                              const AwqOptions& options) {
  const int64_t rows = int64_t(w.size()) / columns, g = options.group_size > 0 ? options.group_size : columns;
  const int64_t groups = (columns + g - 1) / g;
  const int candidates = int(options.clip_max_shrink * options.clip_grid);
  ClipSearch search{
      std::vector<float>(size_t(rows * groups)), std::vector<double>(size_t(rows * groups)), {}};
  search.unclipped = search.errors;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * g, n = std::min(g, columns - begin);
    const std::vector<double> G = gram(x, columns, begin, begin + n);
    cpu::parallel_for(rows, 4, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        const float* w_group = w.data() + row * columns + begin;
        const size_t cell = size_t(row * groups + group);
        float largest = 0;
        for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(w_group[i]));
        for (int i = 0; i < std::max(1, candidates); ++i) {
          const float bound = largest * (1 - float(i) / float(options.clip_grid));
          const double error = clip_error(w_group, n, bound, G, options);
          if (i == 0) search.unclipped[cell] = error;
          if (i > 0 && !(error < search.errors[cell])) continue;
          search.bounds[cell] = bound, search.errors[cell] = error;
        }
      }
    });
  }
  return search;
}

// Queries and keys meet in a softmax, which the error above knows nothing of: they are not clipped. The authors' list of
// names, and GPT-2's fused c_attn.
inline bool is_query_or_key(const std::string& name) {
  for (const char* part : {"q_", "k_", "query", "key", "Wqkv", "c_attn"})
    if (name.find(part) != std::string::npos) return true;
  return false;
}

// Every max(1, ⌊tokens / wanted⌋)-th row of x (..., in), divided by s (empty: 1): (tokens', in).
std::vector<float> clip_inputs(const Tensor& x, const std::vector<float>& s, int64_t wanted);

// Returns how many of the (row, group) pairs were clipped, and how many there are.
std::pair<int64_t, int64_t> clip_weight(Slot& slot, const std::vector<float>& x, const AwqOptions& options);

// ---- a model, block by block ----

struct AwqResult {
  std::map<std::string, QuantizedMatrix> layers;  // by slot: what a file stores in place of the weights
  std::vector<ScaleSearch> searches;              // four per block
  int64_t clipped = 0, clippable = 0;             // (row, group) pairs
};

// What enters each group, (B, T, in) by hook name; the block's own outputs go to `next`.
inline std::map<std::string, Tensor> record_inputs(BlockWalk& walk, const std::vector<FoldingGroup>& groups,
                                                   std::vector<Tensor>& next) {
  std::vector<std::string> hooks;
  for (const FoldingGroup& group : groups) hooks.push_back(group.input);
  Recorder recorder(walk.model.hooks, hooks);
  next = walk.outputs();
  return recorder.last;
}

// UsageError on options out of range, and on groups that do not divide a row.
void check_options(const AwqOptions& options);
void check_groups(const FoldingGroup& group, const AwqOptions& options);

// Steps 1 to 3 for one block: search, scale, clip. All searches see the untouched weights; scales are applied afterwards.
inline void transform_block(std::vector<FoldingGroup>& groups, const std::map<std::string, Tensor>& inputs,
                            const AwqOptions& options, AwqResult& result) {
  const size_t first = result.searches.size();
  for (FoldingGroup& group : groups) {
    using Target = FoldingGroup::Target;
    if (group.target == Target::Division && !options.scale_after_activation) group.target = Target::None;
    const bool can_scale = options.scale_search && group.target != Target::None;
    result.searches.push_back(can_scale ? search_scales(group, inputs.at(group.input), options)
                                        : ScaleSearch{.input = group.input, .inspected = group.inspected});
    result.searches.back().applied = can_scale;
  }
  for (size_t k = 0; k < groups.size(); ++k) {
    if (result.searches[first + k].applied) fold_scales(groups[k], result.searches[first + k].scales);
  }
  if (!options.clip_search) return;
  for (size_t k = 0; k < groups.size(); ++k) {
    const std::vector<float> x =
        clip_inputs(inputs.at(groups[k].input), result.searches[first + k].scales, options.clip_tokens);
    for (Slot* reader : groups[k].readers) {
      if (is_query_or_key(reader->name)) continue;
      const auto [clipped, pairs] = clip_weight(*reader, x, options);
      result.clipped += clipped, result.clippable += pairs;
    }
  }
}

// Step 4: plain rounding of the transformed weight. The Linear keeps the rounded numbers ("pseudo-quantised").
inline QuantizedMatrix round_slot(Slot& slot, const AwqOptions& options) {
  const Tensor weight = linear_in(slot).weight;
  const std::vector<float> w = weight.to_vector();
  QuantizedMatrix matrix = round_to_nearest(w.data(), weight.dim(0), weight.dim(1), awq_grid(options));
  round_scales_to_half(matrix, w);
  weight.copy_from(Tensor::from(weight.shape, dequantize(matrix), weight.device()));
  return matrix;
}

// Quantizes every product inside the blocks; embeddings, norms and head stay float. calibration (B, T): sample text, a few
// thousand tokens suffice. The model is changed: its slots hold Linears with rounded weights (and, for GPT-2's mlp.c_proj,
// a division before it). Throws UsageError when a group size does not divide a row, Error when a slot holds no plain Linear.
inline AwqResult quantize_awq(LanguageModel& model, const IntTensor& calibration, const AwqOptions& options) {
  check_options(options);
  NoGrad no_grad;
  AwqResult result;
  std::vector<Tensor> next;  // what the float block gives: the next block's search sees no errors of this one
  for (BlockWalk walk(model, {calibration}); !walk.done(); walk.advance(std::move(next))) {
    std::vector<FoldingGroup> groups = folding_groups(model, walk.index);
    for (const FoldingGroup& group : groups) check_groups(group, options);
    transform_block(groups, record_inputs(walk, groups, next), options, result);
    for (const FoldingGroup& group : groups)
      for (Slot* reader : group.readers) result.layers[reader->name] = round_slot(*reader, options);
  }
  return result;
}

// ---- the paper's two observations (its section 3; the first in awq.cpp): which columns matter, and what enlarging them does ----

enum class Salience { Activation, WeightNorm, Random };

// The `share` of channels (at least one) with the largest mean |x|, the largest column norm of w, or drawn at random.
std::vector<int64_t> salient_channels(Salience salience, const std::vector<float>& a,
                                      const std::vector<float>& w, double share, uint64_t seed);

// Table 1: round-to-nearest, but the salient columns of every product stay float.
void round_except_salient(LanguageModel& model, const IntTensor& calibration, Salience salience, double share,
                          const AwqOptions& options, uint64_t seed = 1);

// Table 2: what multiplying some columns by s does to the grids they live in.
struct ScalingEffect {
  double changed_groups = 0;  // share of the groups whose step changed
  double step_ratio = 1;      // mean Δ'/Δ over all groups
  double error_factor = 1;    // of the enlarged columns: (Δ'/Δ) / s
};

inline ScalingEffect scaling_effect(const std::vector<float>& w, int64_t columns,
                                    const std::vector<int64_t>& channels, float s,
                                    const AwqOptions& options) {
  const int64_t g = options.group_size > 0 ? options.group_size : columns;
  std::vector<float> factor(size_t(columns), 1);
  for (int64_t c : channels) factor[size_t(c)] = s;
  double changed = 0, ratio = 0, groups = 0;
  for (size_t row = 0; row < w.size(); row += size_t(columns)) {
    for (int64_t begin = 0; begin < columns; begin += g) {
      float before = 0, after = 0;
      for (int64_t c = begin; c < std::min(begin + g, columns); ++c) {
        before = std::max(before, std::abs(w[row + size_t(c)]));
        after = std::max(after, std::abs(w[row + size_t(c)] * factor[size_t(c)]));
      }
      const double levels = std::ldexp(1.0, options.bits - 1);
      const double step = before / levels, new_step = after / levels;  // Eq. (1)
      if (step == 0) continue;
      changed += new_step != step, ratio += new_step / step, groups += 1;
    }
  }
  ScalingEffect effect{changed / groups, ratio / groups, 1};
  effect.error_factor = effect.step_ratio / s;
  return effect;
}

}  // namespace chalk
