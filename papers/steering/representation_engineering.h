#pragma once
// Representation Engineering: A Top-Down Approach to AI Transparency (Zou et al. 2023, arXiv 2310.01405)
//
// 1. Claim. A concept such as honesty is a direction in the residual stream. It is found from contrasting texts (reading,
//    "linear artificial tomography"), tells how much of the concept a new text has, and pushed along at inference
//    (control) makes the model more or less honest, without training.
//
// 2. Idea.
//      for (pair : texts that differ in the concept only) D.add(h(pair.first) − h(pair.second));   // order by a coin
//      v = first_principal_component(D − mean(D));   sign = more positives score high ? +1 : −1;
//      score(text) = sign · (h(text) − mean) · v;                                                  // reading
//      hook(resid_post of some blocks): h ← h + coefficient · sign · v;                            // control
//
// 3. Glossary.   L -> block_count(model)       h_l -> residual at depth l        (a_i, b_i) -> Pairs.first, .second
//                y_i -> Pairs.first_is_positive    v_l, s_l, μ_l -> ReadingVector.direction, .sign, .mean
//                coef -> coefficient      c -> controller        m -> mask
//
// 4. Equations.
//   E1   D_i = h(a_i) − h(b_i)                                      test: RepE.SecondMomentDoesNotKnowTheOrder
//   E2   v = argmax_{|v|=1} Σ (v · (D_i − μ))²,  μ = mean D         test: RepE.PcaFindsAPlantedDirection
//   E3   score(s) = (h(s) − μ) · v / |v|                            test: RepE.ConstantShiftChangesNothing
//   E4   s = sign(share of pairs where the positive scores higher − where it scores lower)  test: RepE.SignFlipsWithLabels
//   E5   v = mean(h | positive) − mean(h | negative), length kept   test: RepE.ClusterMeanIsTheDifferenceOfMeans
//   E6   linear: h' = h + c                                         test: RepEModel.CoefficientZeroIsThePlainModel
//   E7   piece-wise: h' = h + sign(h · c) c                         test: RepE.PieceWiseEqualsLinearOnThePositiveSide
//   E8   projection: h' = h − (h · c)/(c · c) c                     test: RepE.ProjectionRemovesTheDirectionOnce
//   E9   h'' = h' |h| / |h'|                                        test: RepE.KeepNormKeepsTheNorm
//   E10  c_l = α (h_l⁺ − h_l⁻), added to all three streams          test: RepEModel.ContrastOfEqualTemplatesIsThePlainModel
//   E11  t_l = h_l(x) + α (h_l(x⁺) − h_l(x⁻)) + β w_l               test: RepE.LorraLossAtStepZero
//   E12  loss = mean |m (h_l^LoRA(x) − t_l)|₂                       test: RepE.LorraLossAtStepZero
//
// 5. Deviations.
//    paper / code says                             here                               why
//    text: differences are normalised;             centred; unit_rows = true is the   the released reader is what the tables
//      code: centred only                          text's version                     were made with
//    left padding, token −1                        batches of equal length            the last token, without padding
//    last hidden state is after the final norm     before it: resid_post of block     one convention for reading and control
//    reading counts states, control blocks         both count depth (blocks passed)   same reason
//    projection "not implemented" in the code      implemented, the paper's formula
//    cluster mean: labels per difference row       mean of raw states by label        what it means, without the code's index trap
//    coefficient chosen by eye                     layers and coefficient chosen on   the claim is tested on facts that took no
//                                                  validation facts, under a budget   part in any choice
//    LoRRA trains an adapter for 70 steps          target and loss only               the page says so; nothing is claimed for it
//
// 7. The tests prove the invariances on made-up states and on small models; tutorials/representation_engineering.cpp shows
//    that honesty is steered on a trained one.

#include <algorithm>
#include <cmath>
#include <map>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/activations.h"
#include "nn/interventions.h"

namespace chalk::repe {

// ---- reading ----

// States of the two members of each pair, in an order that a coin chose: with the positive always first, μ would *be* the
// concept, and the centred rows would have lost it.
struct Pairs {
  Samples first, second;     // (n, C)
  Labels first_is_positive;  // (n)
};

inline Pairs shuffled_pairs(const Samples& positive, const Samples& negative, uint64_t seed) {
  check(positive.n == negative.n && positive.d == negative.d,
        "pairs: ({}, {}) positive and ({}, {}) negative states", positive.n, positive.d, negative.n,
        negative.d);
  Pairs pairs{{0, positive.d, {}}, {0, positive.d, {}}, {}};
  for (int64_t i = 0; i < positive.n; ++i) {
    const bool keep = random_word(seed, uint64_t(i)) & 1;
    pairs.first.add((keep ? positive : negative).row(i));
    pairs.second.add((keep ? negative : positive).row(i));
    pairs.first_is_positive.push_back(keep);
  }
  return pairs;
}

enum class Reader { Pca, ClusterMean, Random };

struct ReadingOptions {
  Reader reader = Reader::Pca;
  bool unit_rows =
      false;          // Pca: scale each centred difference to length 1 (the paper's text; the code does not)
  uint64_t seed = 1;  // Random
};

struct ReadingVector {
  Direction direction, mean;  // v, μ
  double sign = 1;

  // (h − μ) · v / |v|, before the sign                                                             E3
  double score(const float* h) const { return (dot(direction, h) - dot(direction, mean)) / norm(direction); }
  // What control adds: coefficient · s · v
  Direction controller(double coefficient) const { return scaled(direction, coefficient * sign); }
};

// D (n, C)                                                                                         E1
inline Samples differences(const Pairs& pairs) {
  Samples d = pairs.first;
  for (size_t i = 0; i < d.x.size(); ++i) d.x[i] -= pairs.second.x[i];
  return d;
}

inline Direction principal_difference(const Samples& d, const Direction& mean, bool unit_rows) {  // E2
  if (!unit_rows) return principal_components(d, 1).directions.at(0);
  Samples rows{0, d.d, {}};
  for (int64_t i = 0; i < d.n; ++i) {
    Direction row(d.row(i), d.row(i) + d.d);
    for (size_t j = 0; j < row.size(); ++j) row[j] -= mean[j];
    if (norm(row) > 0) rows.add(to_floats(unit(row)).data());
  }
  return principal_components(rows, 1, false).directions.at(0);
}

// s: does the positive member score higher in more pairs than lower? +1 in a tie.                  E4
inline double sign_of(const ReadingVector& v, const Pairs& pairs) {
  int64_t higher = 0, lower = 0;
  for (int64_t i = 0; i < pairs.first.n; ++i) {
    double difference = v.score(pairs.first.row(i)) - v.score(pairs.second.row(i));
    if (!pairs.first_is_positive[size_t(i)]) difference = -difference;
    higher += difference > 0, lower += difference < 0;
  }
  return higher >= lower ? 1 : -1;
}

inline ReadingVector read_pairs(const Pairs& pairs, const ReadingOptions& options = {}) {
  const Samples d = differences(pairs);
  ReadingVector v;
  v.mean = mean_row(d);
  if (options.reader == Reader::Pca) v.direction = principal_difference(d, v.mean, options.unit_rows);
  if (options.reader == Reader::Random)
    v.direction = random_direction(d.d, std::sqrt(double(d.d)), options.seed);
  if (options.reader == Reader::ClusterMean) {  // E5
    Labels labels = pairs.first_is_positive;
    for (int first : pairs.first_is_positive) labels.push_back(1 - first);
    v.direction = difference_of_means(concatenate(pairs.first, pairs.second), labels);
  }
  v.sign = sign_of(v, pairs);
  return v;
}

// Share of pairs in which the positive member has the higher signed score.
inline double pair_accuracy(const ReadingVector& v, const Samples& positive, const Samples& negative) {
  int64_t right = 0;
  for (int64_t i = 0; i < positive.n; ++i)
    right += v.sign * (v.score(positive.row(i)) - v.score(negative.row(i))) > 0;
  return double(right) / double(positive.n);
}

// ---- control ----

enum class Operator { Linear, PieceWise, Projection };

struct ControlOptions {
  Operator op = Operator::Linear;
  bool keep_norm = false;  // E9, off as in the code
  Positions positions = kEverywhere;
  Passes passes = Passes::WholeTexts;
};

// One state h (C) with controller c (C), in place.
inline void control(float* h, const Direction& c, const ControlOptions& options) {
  const double along = dot(c, h), cc = dot(c, c);
  if (cc == 0) return;
  double before = 0, after = 0, factor = 1;  // Linear: h' = h + c                             E6
  if (options.op == Operator::PieceWise) factor = along >= 0 ? 1 : -1;  // h' = h + sign(h · c) c   E7
  if (options.op == Operator::Projection) factor = -along / cc;  // h' = h − (h · c)/(c · c) c          E8
  for (size_t j = 0; j < c.size(); ++j) {
    before += double(h[j]) * double(h[j]);
    h[j] = float(double(h[j]) + factor * c[j]);
    after += double(h[j]) * double(h[j]);
  }
  if (!options.keep_norm || after == 0) return;
  for (size_t j = 0; j < c.size(); ++j) h[j] = float(double(h[j]) * std::sqrt(before / after));  // E9
}

// depth -> controller. Several depths are a band; later ones see states that the earlier ones have moved.
using Controllers = std::map<int64_t, Direction>;

inline Controllers scaled(const Controllers& controllers, double coefficient) {
  Controllers result;
  for (const auto& [depth, c] : controllers) result[depth] = chalk::scaled(c, coefficient);
  return result;
}

inline Controllers random_like(const Controllers& controllers,
                               uint64_t seed) {  // equal length at every depth
  Controllers result;
  for (const auto& [depth, c] : controllers)
    result[depth] = random_direction(int64_t(c.size()), norm(c), derive_seed(seed, uint64_t(depth)));
  return result;
}

inline void add_control(Edits& edits, LanguageModel& model, const Controllers& controllers,
                        const ControlOptions& options = {}) {
  for (const auto& [depth, c] : controllers) {
    if (norm(c) == 0) continue;
    edits.rows(
        residual_name(model, depth), [c = c, options](float* h, int64_t) { control(h, c, options); },
        options.positions, options.passes);
  }
}

// ---- choosing layers and coefficient: the largest effect that the budget allows ----

struct SweepPoint {
  std::vector<int64_t> depths;
  double coefficient = 0;
  double effect = 0;  // on validation items, by whatever the caller measures
  double kl = 0;      // nats per token of ordinary text, CostMeter
};

// The point of largest effect with kl ≤ budget; of equal ones the first. Throws Error when none is within the budget:
// a choice outside it is the caller's to make and to say.
inline SweepPoint choose(const std::vector<SweepPoint>& points, double kl_budget) {
  const SweepPoint* best = nullptr;
  for (const SweepPoint& point : points)
    if (point.kl <= kl_budget && (!best || point.effect > best->effect)) best = &point;
  check(best != nullptr, "no point of the sweep stays within {} nats per token", kl_budget);
  return *best;
}

// ---- contrast vectors: a direction for each text, by three forward passes ----

struct ContrastOptions {
  std::vector<int64_t> blocks;  // after which of them the streams move
  double alpha = 0.25;
  int64_t tokens = 1;  // k: the last k tokens, which the three texts share
};

// Logits (1, T, V) of `plain`. The three texts may differ in length; their last k tokens are the same.
inline Tensor contrast_logits(LanguageModel& model, const Ids& plain, const Ids& positive,
                              const Ids& negative, const ContrastOptions& options) {
  NoGrad no_grad;
  const int64_t k = options.tokens, C = model.width();
  std::vector<Tensor> streams;  // plain, positive, negative, each (1, T, C)
  for (const Ids* ids : {&plain, &positive, &negative}) {
    check(int64_t(ids->size()) >= k && k > 0, "contrast: {} shared tokens in a text of {}", k, ids->size());
    streams.push_back(model.embed({{1, int64_t(ids->size())}, *ids}, 0));
  }
  for (int64_t i = 0; i < block_count(model); ++i) {
    for (Tensor& stream : streams) stream = model.block(i).forward(stream).to(Device::CPU).clone();
    if (std::count(options.blocks.begin(), options.blocks.end(), i) > 0) {
      std::vector<float*> tail;  // where each stream's last k tokens begin
      for (const Tensor& stream : streams) tail.push_back(stream.data() + (stream.dim(1) - k) * C);
      for (int64_t j = 0; j < k * C; ++j) {
        const float c = float(options.alpha) * (tail[1][j] - tail[2][j]);  // E10
        for (float* h : tail) h[j] += c;
      }
    }
    for (Tensor& stream : streams) stream = stream.to(model.device());
  }
  return model.head(streams[0]);
}

// ---- LoRRA: what the adapter is trained towards ----

// t = h + α (h⁺ − h⁻) + β w for one layer; all (T, C), w (C) or empty. β = 0 in all released runs.   E11
inline std::vector<float> lorra_target(const std::vector<float>& h, const std::vector<float>& positive,
                                       const std::vector<float>& negative, double alpha = 5, double beta = 0,
                                       const std::vector<float>& w = {}) {
  std::vector<float> target = h;
  for (size_t i = 0; i < h.size(); ++i) {
    target[i] = float(double(h[i]) + alpha * (double(positive[i]) - double(negative[i])) +
                      (w.empty() ? 0 : beta * double(w[i % w.size()])));
  }
  return target;
}

// Mean over positions of the Euclidean norm, not squared; masked positions count as 0 in the mean.    E12
inline double lorra_loss(const std::vector<float>& adapted, const std::vector<float>& target,
                         const std::vector<float>& mask) {
  const size_t T = mask.size(), C = adapted.size() / T;
  double sum = 0;
  for (size_t t = 0; t < T; ++t) {
    double square = 0;
    for (size_t c = 0; c < C; ++c) {
      const double difference = double(mask[t]) * (double(adapted[t * C + c]) - double(target[t * C + c]));
      square += difference * difference;
    }
    sum += std::sqrt(square);
  }
  return sum / double(T);
}

}  // namespace chalk::repe
