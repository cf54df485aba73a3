// Directions and classifiers have closed forms; each is checked against its own, on made-up data.
#include "nn/probe.h"

#include <gtest/gtest.h>

#include "kernels/philox.h"
#include "tests/eigen.h"
#include "tests/expect.h"

namespace chalk {
namespace {

// n rows of width d: N(0, 1) · scale_j + shift · direction_j · (label ? ½ : −½). Labels alternate.
struct Made {
  Samples x;
  Labels y;
};
Made made_up(int64_t n, const Direction& shift, const std::vector<double>& scale, uint64_t seed) {
  const int64_t d = int64_t(shift.size());
  Made made{{0, d, {}}, {}};
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> row;
    for (int64_t j = 0; j < d; ++j) {
      const double noise = double(random_normal(seed, uint64_t(i * d + j))) * scale[size_t(j)];
      row.push_back(float(noise + shift[size_t(j)] * (i % 2 ? 0.5 : -0.5)));
    }
    made.x.add(row.data());
    made.y.push_back(int(i % 2));
  }
  return made;
}

Samples shifted(Samples x, float constant) {
  for (float& value : x.x) value += constant;
  return x;
}

Labels flipped(Labels y) {
  for (int& label : y) label = 1 - label;
  return y;
}

const std::vector<double> kOnes(6, 1.0);
const Direction kShift = {2, -1, 0.5, 0, 0, 1};

TEST(Probe, DifferenceOfMeansIsWhatItSays) {
  const Samples x{4, 2, {1, 2, 3, 4, 10, 20, 30, 40}};
  EXPECT_EQ(difference_of_means(x, {1, 0, 1, 0}), (Direction{5.5 - 16.5, 11 - 22.0}));
  // unchanged by a constant, linear in the scale: exact, the numbers are small integers
  EXPECT_EQ(difference_of_means(shifted(x, 64), {1, 0, 1, 0}), difference_of_means(x, {1, 0, 1, 0}));
  Samples twice = x;
  for (float& value : twice.x) value *= 2;
  EXPECT_EQ(difference_of_means(twice, {1, 0, 1, 0}), scaled(difference_of_means(x, {1, 0, 1, 0}), 2));
  EXPECT_EQ(difference_of_means(x, {0, 1, 0, 1}), scaled(difference_of_means(x, {1, 0, 1, 0}), -1));
}

TEST(Probe, LogisticGradientIsZeroAtTheOptimum) {
  const Made m = made_up(200, kShift, kOnes, 1);
  const LogisticProbe probe = logistic_probe(m.x, m.y, {.standardise = false, .gradient_tolerance = 1e-9});
  EXPECT_LT(probe.gradient, 1e-9);
  // the gradient again, by its formula: w + C Σ (p_i − y_i) x_i, bias Σ (p_i − y_i)
  Direction gradient = probe.weight;
  double bias = 0;
  for (int64_t i = 0; i < m.x.n; ++i) {
    const double error = probe.probability(m.x.row(i)) - m.y[size_t(i)];
    for (size_t j = 0; j < gradient.size(); ++j) gradient[j] += error * double(m.x.row(i)[j]);
    bias += error;
  }
  EXPECT_LT(norm(gradient) + std::abs(bias), 1e-4);  // the sheet's bar
  EXPECT_LT(logistic_probe(m.x, m.y).gradient, 1e-4);
}

TEST(Probe, LogisticKnowsItsSymmetries) {
  const Made m = made_up(120, kShift, {1, 2, 1, 1, 0.5, 1}, 2);
  const LogisticOptions exact{.C = 0.5, .standardise = false, .gradient_tolerance = 1e-10};
  const LogisticProbe probe = logistic_probe(m.x, m.y, exact);
  // Strong convexity with modulus 1 in w: |w − w*| ≤ |gradient| √7. 1e-9 leaves room for the flat bias.
  const LogisticProbe opposite = logistic_probe(m.x, flipped(m.y), exact);
  for (size_t j = 0; j < probe.weight.size(); ++j) EXPECT_NEAR(opposite.weight[j], -probe.weight[j], 1e-8);
  EXPECT_NEAR(opposite.bias, -probe.bias, 1e-8);
  // every row twice at half the C is the same problem
  Labels twice = m.y;
  twice.insert(twice.end(), m.y.begin(), m.y.end());
  const LogisticProbe doubled = logistic_probe(
      concatenate(m.x, m.x), twice, {.C = 0.25, .standardise = false, .gradient_tolerance = 1e-10});
  for (size_t j = 0; j < probe.weight.size(); ++j) EXPECT_NEAR(doubled.weight[j], probe.weight[j], 1e-8);
}

TEST(Probe, StandardisedProbeDoesNotKnowTheUnitOfAFeature) {
  const Made m = made_up(120, kShift, kOnes, 3);
  Samples other = m.x;
  for (int64_t i = 0; i < other.n; ++i) other.x[size_t(i * other.d + 1)] *= 1024;  // a power of two: exact
  const LogisticProbe a = logistic_probe(m.x, m.y), b = logistic_probe(other, m.y);
  for (int64_t i = 0; i < m.x.n; ++i) EXPECT_NEAR(a.score(m.x.row(i)), b.score(other.row(i)), 1e-3);
  EXPECT_NEAR(a.weight[1], b.weight[1] * 1024, 1e-3);
}

TEST(Probe, SeparableDataStaysFinite) {
  const Samples x{4, 1, {-2, -1, 1, 2}};
  const LogisticProbe probe = logistic_probe(x, {0, 0, 1, 1}, {.C = 1e6, .standardise = false});
  EXPECT_TRUE(std::isfinite(probe.weight[0]));
  EXPECT_EQ(accuracy(probe, x, {0, 0, 1, 1}), 1);
}

// Gaussians of identity covariance: the best direction is θ itself.
TEST(Probe, LogisticWeightFollowsTheMeansOfRoundGaussians) {
  const Made m = made_up(4000, kShift, kOnes, 4);
  const Direction theta = difference_of_means(m.x, m.y);
  // angle of an estimate from n rows: about √(d / (n p(1 − p))) / |θ|, here 0.04 at most; 1 − cos = angle² / 2
  EXPECT_GT(cosine(logistic_probe(m.x, m.y, {.standardise = false}).weight, theta), 0.99);
}

TEST(Probe, MassMeanIsTheBestForGaussians) {
  const std::vector<double> scale = {3, 1, 0.5, 1, 2, 0.3};
  const Made m = made_up(8000, kShift, scale, 5);
  const LinearProbe mass_mean = mass_mean_probe(m.x, m.y);
  const Direction w = logistic_probe(m.x, m.y, {.standardise = false}).weight;
  EXPECT_GT(cosine(mass_mean.weight, w), 0.98);
  EXPECT_LT(cosine(difference_of_means(m.x, m.y), w),
            0.9);  // θ alone points elsewhere when the covariance is not round
  // the same direction as S⁻¹θ with the known S
  Direction known = kShift;
  for (size_t j = 0; j < known.size(); ++j) known[j] /= scale[j] * scale[j];
  EXPECT_GT(cosine(mass_mean.weight, known), 0.98);
}

TEST(Probe, ComponentsAreEigenvectorsOfTheCovariance) {
  for (const int64_t n : {40, 4}) {  // more rows than columns, and fewer: the Gram path
    const Made m = made_up(n, kShift, {3, 1, 0.5, 1, 2, 0.3}, 6);
    const PrincipalComponents p = principal_components(m.x, 6);
    Eigen::MatrixXd x(n, 6);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < 6; ++j) x(i, j) = double(m.x.row(i)[j]);
    x.rowwise() -= x.colwise().mean();
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> oracle(x.transpose() * x / double(n));
    ASSERT_EQ(p.directions.size(), size_t(std::min<int64_t>(n - 1, 6)));
    for (size_t k = 0; k < p.directions.size(); ++k) {
      EXPECT_NEAR(p.variances[k], oracle.eigenvalues()(5 - int64_t(k)), 1e-10 * p.variances[0]);
      double along = 0, largest = 0;
      for (int64_t j = 0; j < 6; ++j) {
        along += p.directions[k][size_t(j)] * oracle.eigenvectors()(j, 5 - int64_t(k));
        if (std::abs(p.directions[k][size_t(j)]) > std::abs(largest)) largest = p.directions[k][size_t(j)];
      }
      EXPECT_NEAR(std::abs(along), 1, 1e-8);
      EXPECT_GT(largest, 0);  // the sign convention
      for (size_t l = 0; l <= k; ++l) EXPECT_NEAR(dot(p.directions[k], p.directions[l]), k == l, 1e-8);
      EXPECT_LE(p.variances[k], p.variances[k > 0 ? k - 1 : 0]);
    }
    EXPECT_NEAR(p.total_variance, oracle.eigenvalues().sum(), 1e-10 * p.total_variance);
  }
}

TEST(Probe, PowerIterationAgreesWithTheFirstComponent) {
  const Made m = made_up(60, kShift, {3, 1, 0.5, 1, 2, 0.3}, 7);
  const Direction mean = mean_row(m.x);
  Direction v = unit(Direction(6, 1.0));
  for (int step = 0; step < 500; ++step) {  // v ← Xᵀ (X v), normalised
    Direction next(6, 0.0);
    for (int64_t i = 0; i < m.x.n; ++i) {
      const double share = dot(v, m.x.row(i)) - dot(v, mean);
      for (size_t j = 0; j < 6; ++j) next[j] += share * (double(m.x.row(i)[j]) - mean[j]);
    }
    v = unit(next);
  }
  EXPECT_LT(1 - std::abs(cosine(v, principal_components(m.x, 1).directions[0])), 1e-9);
}

TEST(Probe, ThresholdAlongADirectionStandsBetweenTheMeans) {
  const Samples x{4, 1, {0, 2, 10, 12}};
  for (const double sign : {1.0, -1.0}) {
    const LinearProbe probe = probe_along({sign}, x, {0, 0, 1, 1});
    EXPECT_EQ(probe.weight, Direction{1});
    EXPECT_EQ(probe.bias, -6);
    EXPECT_EQ(accuracy(probe, x, {0, 0, 1, 1}), 1);
  }
}

TEST(Probe, RandomLabelsTeachNothing) {
  const Made m = made_up(400, kShift, kOnes, 8);
  double sum = 0;
  constexpr int kShuffles = 10, kTests = 200;
  for (uint64_t s = 0; s < kShuffles; ++s) {
    const Labels y = shuffled(m.y, s);
    std::vector<int64_t> train, test;
    Labels train_y, test_y;
    for (int64_t i = 0; i < m.x.n; ++i) {
      (i < kTests ? train : test).push_back(i);
      (i < kTests ? train_y : test_y).push_back(y[size_t(i)]);
    }
    sum += accuracy(logistic_probe(select_rows(m.x, train), train_y), select_rows(m.x, test), test_y);
  }
  // one shuffle: standard error √(¼ / 200); the mean of ten: / √10. Three of them:
  EXPECT_NEAR(sum / kShuffles, 0.5, 3 * std::sqrt(0.25 / kTests / kShuffles));
}

TEST(Probe, FoldsKeepItemsTogetherAndCoverEverything) {
  const std::vector<int> items = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4}, fold = folds_by_item(items, 3);
  std::vector<int> seen(3, 0);
  for (size_t i = 0; i < items.size(); ++i) {
    seen[size_t(fold[i])]++;
    for (size_t j = 0; j < items.size(); ++j) EXPECT_TRUE(items[i] != items[j] || fold[i] == fold[j]);
  }
  EXPECT_EQ(seen, (std::vector<int>{4, 4, 2}));
}

TEST(Probe, ShuffledLabelsAreTheSameLabels) {
  Labels y(50, 0);
  for (int i = 0; i < 20; ++i) y[size_t(i)] = 1;
  const Labels a = shuffled(y, 1);
  EXPECT_EQ(a, shuffled(y, 1));
  EXPECT_NE(a, shuffled(y, 2));
  EXPECT_EQ(std::count(a.begin(), a.end(), 1), 20);
}

TEST(Probe, WilsonIntervalHasItsKnownValues) {
  // p = 0 of 10: high = z² / (n + z²) = 3.8415 / 13.8415
  EXPECT_NEAR(wilson_interval(0, 10).high, 0.27753, 1e-5);
  EXPECT_EQ(wilson_interval(0, 10).low, 0);
  const Interval half = wilson_interval(0.5, 100);
  EXPECT_NEAR(half.low + half.high, 1, 1e-12);  // symmetric
  EXPECT_NEAR(half.low, 0.40383, 1e-5);
}

TEST(Probe, BadInputIsRefused) {
  const Samples x{2, 1, {1, 2}};
  EXPECT_MENTIONS(error_text([&] { difference_of_means(x, {1}); }), "1 labels for 2 rows");
  EXPECT_MENTIONS(error_text([&] { logistic_probe(x, {1, 1}); }), "no row has label 0");
  EXPECT_MENTIONS(error_text([&] { difference_of_means(x, {1, 2}); }), "label 2");
  EXPECT_MENTIONS(error_text([&] { unit({0, 0}); }), "length 0");
  EXPECT_MENTIONS(error_text([&] { principal_components({1, 1, {NAN}}, 1, false); }), "not finite");
  EXPECT_MENTIONS(error_text([&] { select_rows(x, {2}); }), "row 2 of 2");
}

}  // namespace
}  // namespace chalk
