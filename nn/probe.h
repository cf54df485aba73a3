#pragma once
// Linear probes: from activations with (or without) labels to a direction and a classifier. The shared toolbox of the
// steering papers (papers/steering/): one place fixes labels, centring, scale and sign for all of them.
//
//   difference of means   θ = μ_1 − μ_0                                      Marks & Tegmark 2023
//   mass-mean probe       p = σ(θᵀ S⁺ x + b),  S = pooled within-class covariance (LDA)
//   logistic regression   min_{w,b} ½|w|² + C Σ log(1 + e^(−t_i (w·x_i + b))),  t_i = ±1
//   principal components  right singular vectors of the centred rows
//   controls              shuffled labels, a random direction: a method that "works" on them measures nothing
//
// All sums are in double and in row order: same rows, same bits, whatever the number of threads.

#include <cstdint>
#include <vector>

namespace chalk {

// n activations of width d, one a row.
struct Samples {
  int64_t n = 0, d = 0;
  std::vector<float> x;  // (n, d)

  const float* row(int64_t i) const { return x.data() + i * d; }
  void add(const float* row);  // appends one; d must be set
};
// The named rows, in that order. Throws Error on a row that is not there.
Samples select_rows(const Samples& samples, const std::vector<int64_t>& rows);
Samples concatenate(const Samples& a, const Samples& b);  // a's rows, then b's

using Labels = std::vector<int>;        // one per row: 1 = the concept holds, 0 = it does not
using Direction = std::vector<double>;  // (d)

// ---- vectors ----
double dot(const Direction& a, const Direction& b);
double dot(const Direction& a, const float* x);  // x (a.size())
double norm(const Direction& a);
double cosine(const Direction& a, const Direction& b);
Direction scaled(const Direction& a, double factor);
Direction unit(const Direction& a);  // throws Error on a vector of length 0
std::vector<float> to_floats(const Direction& a);
// N(0, 1) in every coordinate, scaled to `length`; the control of every steering experiment.
Direction random_direction(int64_t d, double length, uint64_t seed);

// ---- means ----
Direction mean_row(const Samples& samples);
Direction class_mean(const Samples& samples, const Labels& labels,
                     int label);  // throws Error on an empty class
// θ = μ_1 − μ_0
Direction difference_of_means(const Samples& samples, const Labels& labels);

// ---- principal components ----
struct PrincipalComponents {
  std::vector<Direction> directions;  // orthonormal; the coordinate of largest magnitude is positive
  std::vector<double> variances;      // descending, with divisor n
  double total_variance = 0;  // of all components: variances[0] / total_variance is the explained share
};
// The first `count` components (fewer when the rows span less). centre = false keeps the mean in: the components of the
// second moment. Throws Error on fewer than one row or numbers that are not finite.
PrincipalComponents principal_components(const Samples& samples, int64_t count, bool centre = true);

// ---- classifiers: label 1 where weight · x + bias ≥ 0 ----
struct LinearProbe {
  Direction weight;  // (d), for x as it is: scaling of features is folded in
  double bias = 0;

  double score(const float* x) const { return dot(weight, x) + bias; }
  double probability(const float* x) const;  // σ(score)
};
double accuracy(const LinearProbe& probe, const Samples& samples, const Labels& labels);

// Along a given direction: the sign and the threshold half-way between the projected class means come from labels.
LinearProbe probe_along(const Direction& direction, const Samples& samples, const Labels& labels);
// p = σ(θᵀ S⁺ (x − ½(μ_1 + μ_0))). Eigenvalues of S below tolerance · (the largest) count as 0.
LinearProbe mass_mean_probe(const Samples& samples, const Labels& labels, double tolerance = 1e-3);

struct LogisticOptions {
  double C = 1;  // weight of the data against ½|w|²; smaller = stronger regularisation
  bool standardise =
      true;  // features to mean 0, variance 1 first: needed to compare sites. ITI's code does not.
  int max_iterations = 1000;
  double gradient_tolerance = 1e-4;  // stop when no entry of the gradient is larger
};
struct LogisticProbe : LinearProbe {
  double loss = 0, gradient = 0;  // at the end: the objective, the largest |entry| of its gradient
  int iterations = 0;
};
// Newton's method with step halving; the problem is convex, so the answer does not depend on the start.
// Throws Error when labels do not match the rows or one class is empty.
LogisticProbe logistic_probe(const Samples& samples, const Labels& labels,
                             const LogisticOptions& options = {});

// ---- splits, controls, errors ----
// Fold of each row when all rows of one item (a fact, a question) share a fold: item mod folds. Never split by row:
// a probe that has seen "the blick is red" knows something about "the blick is blue".
std::vector<int> folds_by_item(const std::vector<int>& items, int folds);
Labels shuffled(const Labels& labels, uint64_t seed);  // the same labels in another order (Fisher-Yates)

struct Interval {
  double low = 0, high = 1;
};
// Wilson's 95 % interval for a share of successes: unlike p ± 1.96 √(p(1−p)/n) it is right at p = 0 and 1 too.
Interval wilson_interval(double share, int64_t n);

}  // namespace chalk
