#pragma once
// Linear probes for truth: difference of means and mass-mean (Marks & Tegmark 2023, "The Geometry of Truth",
// arXiv 2310.06824), contrast-consistent search (Burns et al. 2022, "Discovering Latent Knowledge", arXiv 2212.03827).
//
// 1. Claim. Whether a statement is true can be read off a language model's residual stream by one linear direction, also
//    for facts that the probe never saw, and to some degree without any labels.
//
// 2. Idea.
//      for (statement : true and false ones) x.add(residual(model, statement, depth, last token));
//      direction = mean(x | true) − mean(x | false);              // or logistic regression, PCA, CCS
//      is_true   = dot(direction, residual(new statement)) > threshold;
//
// 3. Glossary.   X (n × d) -> Samples        y -> Labels         θ -> weight of a LinearProbe     μ_1, μ_0 -> class_mean
//                S⁺ -> inside mass_mean_probe       x⁺, x⁻ -> ContrastPairs      p⁺, p⁻ -> as named
//
// 4. Equations. E1 … E4 are computed in nn/probe.cpp and nn/logistic_probe.cpp, which all steering papers share; this header calls it.
//   E1   θ = μ_1 − μ_0                                                     test: Probe.DifferenceOfMeansIsWhatItSays
//   E2   p = σ(θᵀ S⁺ x + b), b = −½ θᵀ S⁺ (μ_1 + μ_0)                      test: Probe.MassMeanIsTheBestForGaussians
//   E3   min ½|w|² + C Σ log(1 + e^(−t_i (w·x_i + b)))                     test: Probe.LogisticGradientIsZeroAtTheOptimum
//   E4   first right singular vector of the centred rows                   test: Probe.ComponentsAreEigenvectorsOfTheCovariance
//   E5   loss = mean[(p⁺ − (1 − p⁻))²] + mean[min(p⁺, p⁻)²]                test: Ccs.LossHasItsKnownValues
//   E6   x̃⁺ = x⁺ − mean(x⁺),  x̃⁻ = x⁻ − mean(x⁻), each group by itself     test: Ccs.IgnoresWhatSeparatesTheTwoGroups
//   E7   q = ½(p⁺ + 1 − p⁻); the first is the true one where q ≥ ½         test: Ccs.FindsTruthWithoutLabels
//   E8   dL/dp⁺ = 2e + 2 min · [p⁺ < p⁻], e = p⁺ + p⁻ − 1                  test: Ccs.GradientAgreesWithDifferences
//
// 5. Deviations.
//    paper / code says                              here                                why
//    geometry-of-truth trains its logistic probe    Newton, L2 with C = 1, features     the optimum of a convex problem, not of
//    1000 AdamW steps, no bias                      standardised                        an optimiser's schedule
//    S⁺ cuts eigenvalues below 1e-3                 below 1e-3 of the largest           does not depend on the scale of x
//    CCS: class 0 is the positive completion        group + comes first, q ≥ ½ = true   one convention, tested with a known sign
//    CCS code: two-layer probe by default flag      linear                              the paper's probe
//    the CCS pair is one text + "yes" / "no"        a true and a false statement of     Creature Town has no yes/no completion at
//                                                   one fact, order drawn by a coin     the token that is read
//    layer chosen on the data that is reported      a fold of its own chooses it        otherwise the best of several is too good
//
// 7. The tests prove the closed forms, the invariances and the controls on made-up data with a known answer
//    (tests/nn/probe_test.cpp, tests/papers/probes_test.cpp); tutorials/probes.cpp proves the claim on a trained model.

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/activations.h"

namespace chalk::probes {

// ---- estimators that see labels: rows and labels to a classifier ----

struct Estimator {
  std::string name;
  std::function<LinearProbe(const Samples& x, const Labels& y)> fit;
};

inline std::vector<Estimator> estimators() {
  return {
      {"logistic regression", [](const Samples& x, const Labels& y) { return logistic_probe(x, y); }},  // E3
      {"difference of means",
       [](const Samples& x, const Labels& y) { return probe_along(difference_of_means(x, y), x, y); }},  // E1
      {"mass-mean", [](const Samples& x, const Labels& y) { return mass_mean_probe(x, y); }},            // E2
      // Finds its direction without labels; they only give its sign and threshold.                         E4
      {"first component",
       [](const Samples& x, const Labels& y) {
         return probe_along(principal_components(x, 1).directions.at(0), x, y);
       }},
  };
}

// Controls. What they reach is what a probe reaches that has learned nothing about the concept.
inline Estimator random_estimator(uint64_t seed) {
  return {"random direction", [seed](const Samples& x, const Labels& y) {
            return probe_along(random_direction(x.d, 1, seed), x, y);
          }};
}

// ---- cross-validation by item ----

struct Split {
  Samples train_x, test_x;
  Labels train_y, test_y;
};
// test = the rows whose fold is `test`; train = all others, without the fold `left_out` (−1: none).
inline Split split_by_fold(const Samples& x, const Labels& y, const std::vector<int>& fold, int test,
                           int left_out = -1) {
  std::vector<int64_t> train_rows, test_rows;
  Split split;
  for (size_t i = 0; i < fold.size(); ++i) {
    if (fold[i] == test)
      test_rows.push_back(int64_t(i)), split.test_y.push_back(y[i]);
    else if (fold[i] != left_out)
      train_rows.push_back(int64_t(i)), split.train_y.push_back(y[i]);
  }
  split.train_x = select_rows(x, train_rows), split.test_x = select_rows(x, test_rows);
  return split;
}

// Mean over folds of the accuracy on the fold that was held out.
inline double cross_validated(const Estimator& estimator, const Samples& x, const Labels& y,
                              const std::vector<int>& fold) {
  const int folds = *std::max_element(fold.begin(), fold.end()) + 1;
  double sum = 0;
  for (int k = 0; k < folds; ++k) {
    const Split s = split_by_fold(x, y, fold, k);
    sum += accuracy(estimator.fit(s.train_x, s.train_y), s.test_x, s.test_y);
  }
  return sum / folds;
}

// The honest figure for "the best depth": for test fold k, fold k + 1 chooses the depth, the others train.
struct ChosenDepth {
  double accuracy = 0;
  std::vector<int> chosen;  // depth of each test fold
};
inline ChosenDepth choose_depth_and_test(const Estimator& estimator, const std::vector<Samples>& by_depth,
                                         const Labels& y, const std::vector<int>& fold) {
  const int folds = *std::max_element(fold.begin(), fold.end()) + 1;
  check(folds > 2, "choose_depth_and_test: {} folds, expected at least 3: one to test, one to choose", folds);
  ChosenDepth result;
  for (int k = 0; k < folds; ++k) {
    const int chooser = (k + 1) % folds;
    int best = 0;
    double best_accuracy = -1;
    for (size_t depth = 0; depth < by_depth.size(); ++depth) {
      const Split s = split_by_fold(by_depth[depth], y, fold, chooser, k);
      const double a = accuracy(estimator.fit(s.train_x, s.train_y), s.test_x, s.test_y);
      if (a > best_accuracy) best_accuracy = a, best = int(depth);
    }
    const Split s = split_by_fold(by_depth[size_t(best)], y, fold, k, chooser);
    result.accuracy += accuracy(estimator.fit(s.train_x, s.train_y), s.test_x, s.test_y) / folds;
    result.chosen.push_back(best);
  }
  return result;
}

// The same probe on labels in random order: mean over `shuffles` of the cross-validated accuracy. About ½, or the split leaks.
inline double shuffled_label_accuracy(const Estimator& estimator, const Samples& x, const Labels& y,
                                      const std::vector<int>& fold, int shuffles, uint64_t seed) {
  double sum = 0;
  for (int s = 0; s < shuffles; ++s)
    sum += cross_validated(estimator, x, shuffled(y, derive_seed(seed, uint64_t(s))), fold);
  return sum / shuffles;
}

// ---- contrast-consistent search: truth without labels ----

// Row i of plus and minus: the two members of pair i, of which one is true. Which one, nobody says.
struct ContrastPairs {
  Samples plus, minus;
};

struct CcsOptions {
  int restarts = 10;  // the loss has several minima; the lowest is kept
  int epochs = 1000;  // full batch
  double lr = 1e-3, weight_decay = 0.01, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // AdamW
  bool remove_group_means =
      true;  // E6. false finds whatever separates the two groups, "ends in yes" for instance
  uint64_t seed = 1;
};

struct CcsProbe {
  Direction weight, plus_mean, minus_mean;
  double bias = 0, loss = 0;

  // q = ½(p⁺ + 1 − p⁻); the first member is the true one where q ≥ ½, up to one sign for all pairs          E7
  double q(const float* plus, const float* minus) const;
};

inline double ccs_sigmoid(double z) {
  return 1 / (1 + std::exp(-z));
}

// (p⁺ − (1 − p⁻))² + min(p⁺, p⁻)²: consistent, and confident                                                E5
inline double ccs_loss(double p_plus, double p_minus) {
  const double e = p_plus + p_minus - 1, low = std::min(p_plus, p_minus);
  return e * e + low * low;
}

// dL/dp⁺ of one pair; swap the arguments for dL/dp⁻                                                         E8
inline double ccs_gradient(double p_plus, double p_minus) {
  return 2 * (p_plus + p_minus - 1) + (p_plus < p_minus ? 2 * p_plus : 0);
}

// Mean loss over pairs for w = (weight, bias), and its gradient. plus, minus: (n, d) rows, already centred.
inline double ccs_objective(const std::vector<double>& w, const Samples& plus, const Samples& minus,
                            std::vector<double>& gradient) {
  const size_t d = size_t(plus.d);
  gradient.assign(d + 1, 0.0);
  double loss = 0;
  for (int64_t i = 0; i < plus.n; ++i) {
    const float *a = plus.row(i), *b = minus.row(i);
    double z_plus = w[d], z_minus = w[d];
    for (size_t j = 0; j < d; ++j) z_plus += w[j] * double(a[j]), z_minus += w[j] * double(b[j]);
    const double p = ccs_sigmoid(z_plus), m = ccs_sigmoid(z_minus);
    loss += ccs_loss(p, m);
    // dL/dz = dL/dp · p (1 − p)
    const double dz_plus = ccs_gradient(p, m) * p * (1 - p), dz_minus = ccs_gradient(m, p) * m * (1 - m);
    for (size_t j = 0; j < d; ++j) gradient[j] += dz_plus * double(a[j]) + dz_minus * double(b[j]);
    gradient[d] += dz_plus + dz_minus;
  }
  for (double& g : gradient) g /= double(plus.n);
  return loss / double(plus.n);
}

// x̃ = x − mean                                                                                              E6
inline Samples ccs_centred(const Samples& x, const Direction& mean) {
  Samples y = x;
  for (size_t i = 0; i < y.x.size(); ++i) y.x[i] = float(double(y.x[i]) - mean[i % mean.size()]);
  return y;
}

inline CcsProbe ccs(const ContrastPairs& pairs, const CcsOptions& o = {}) {
  const size_t d = size_t(pairs.plus.d);
  check(pairs.plus.n == pairs.minus.n && pairs.plus.n > 0, "ccs: {} first and {} second members",
        pairs.plus.n, pairs.minus.n);
  CcsProbe best;
  best.loss = 1e300;
  best.plus_mean = o.remove_group_means ? mean_row(pairs.plus) : Direction(d, 0.0);
  best.minus_mean = o.remove_group_means ? mean_row(pairs.minus) : Direction(d, 0.0);
  const Samples plus = ccs_centred(pairs.plus, best.plus_mean),
                minus = ccs_centred(pairs.minus, best.minus_mean);
  for (int restart = 0; restart < o.restarts; ++restart) {
    std::vector<double> w = random_direction(int64_t(d), 1, derive_seed(o.seed, uint64_t(restart)));
    w.push_back(0);
    std::vector<double> gradient, first(d + 1, 0.0), second(d + 1, 0.0);
    for (int step = 1; step <= o.epochs; ++step) {
      ccs_objective(w, plus, minus, gradient);
      const double correct1 = 1 - std::pow(o.beta1, step), correct2 = 1 - std::pow(o.beta2, step);
      for (size_t j = 0; j <= d; ++j) {
        first[j] = o.beta1 * first[j] + (1 - o.beta1) * gradient[j];
        second[j] = o.beta2 * second[j] + (1 - o.beta2) * gradient[j] * gradient[j];
        w[j] -=
            o.lr * (first[j] / correct1 / (std::sqrt(second[j] / correct2) + o.eps) + o.weight_decay * w[j]);
      }
    }
    const double loss = ccs_objective(w, plus, minus, gradient);
    if (loss < best.loss) best.loss = loss, best.bias = w.back(), best.weight.assign(w.begin(), w.end() - 1);
  }
  return best;
}

inline double CcsProbe::q(const float* plus, const float* minus) const {
  const double p = ccs_sigmoid(dot(weight, plus) - dot(weight, plus_mean) + bias);
  const double m = ccs_sigmoid(dot(weight, minus) - dot(weight, minus_mean) + bias);
  return 0.5 * (p + 1 - m);  // E7
}

// Share of pairs whose true member is found; plus_is_true decides right and wrong, and the global sign: never below ½.
inline double ccs_accuracy(const CcsProbe& probe, const ContrastPairs& pairs, const Labels& plus_is_true) {
  int64_t right = 0;
  for (int64_t i = 0; i < pairs.plus.n; ++i)
    right += (probe.q(pairs.plus.row(i), pairs.minus.row(i)) >= 0.5) == (plus_is_true[size_t(i)] == 1);
  const double share = double(right) / double(pairs.plus.n);
  return std::max(share, 1 - share);
}

}  // namespace chalk::probes
