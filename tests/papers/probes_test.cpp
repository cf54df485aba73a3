// Cross-validation by item, and contrast-consistent search, on data with a known answer.
#include "papers/steering/probes.h"

#include <gtest/gtest.h>

#include "tests/expect.h"

namespace chalk::probes {
namespace {

// Two rows per item, label 1 and 0, separated along coordinate 0 and with a large offset of each item's own.
struct Items {
  Samples x;
  Labels y;
  std::vector<int> items;
};
Items two_rows_per_item(int n, double separation, uint64_t seed) {
  Items made{{0, 8, {}}, {}, {}};
  for (int i = 0; i < n; ++i) {
    for (int label : {1, 0}) {
      std::vector<float> row;
      for (int j = 0; j < 8; ++j) row.push_back(random_normal(seed, uint64_t(i * 16 + label * 8 + j)));
      row[0] += float(separation * (label ? 0.5 : -0.5));
      made.x.add(row.data());
      made.y.push_back(label), made.items.push_back(i);
    }
  }
  return made;
}

TEST(Probes, EveryEstimatorFindsASeparatedConcept) {
  const Items m = two_rows_per_item(50, 8, 1);
  const std::vector<int> fold = folds_by_item(m.items, 5);
  // separation 8σ, threshold in the middle: an error is a 4σ event for a perfect probe
  for (const Estimator& e : estimators()) EXPECT_GE(cross_validated(e, m.x, m.y, fold), 0.97) << e.name;
}

TEST(Probes, NothingIsFoundWhereNothingIs) {
  const Items m = two_rows_per_item(100, 0, 2);
  const std::vector<int> fold = folds_by_item(m.items, 5);
  for (const Estimator& e : estimators()) {
    EXPECT_NEAR(cross_validated(e, m.x, m.y, fold), 0.5, 3 * std::sqrt(0.25 / 200)) << e.name;
  }
}

TEST(Probes, ShuffledLabelsAreAtChanceOnASeparatedConcept) {
  const Items m = two_rows_per_item(60, 8, 3);
  const std::vector<int> fold = folds_by_item(m.items, 5);
  for (const Estimator& e : estimators()) {
    EXPECT_NEAR(shuffled_label_accuracy(e, m.x, m.y, fold, 5, 1), 0.5, 3 * std::sqrt(0.25 / 120)) << e.name;
  }
}

TEST(Probes, SplitsAreDisjointAndComplete) {
  const Items m = two_rows_per_item(10, 1, 4);
  const std::vector<int> fold = folds_by_item(m.items, 5);
  int64_t tested = 0;
  for (int k = 0; k < 5; ++k) {
    const Split all = split_by_fold(m.x, m.y, fold, k),
                without = split_by_fold(m.x, m.y, fold, k, (k + 1) % 5);
    EXPECT_EQ(all.train_x.n + all.test_x.n, m.x.n);
    EXPECT_EQ(without.train_x.n, m.x.n - 8);
    tested += all.test_x.n;
  }
  EXPECT_EQ(tested, m.x.n);
}

TEST(Probes, TheDepthIsChosenWithoutTheTestFold) {
  // Depth 1 has the concept; depth 0 has it only in fold 0, with the opposite sign: choosing on fold 0 would be misled.
  const Items good = two_rows_per_item(40, 8, 5);
  Items bad = two_rows_per_item(40, 0, 6);
  const std::vector<int> fold = folds_by_item(good.items, 5);
  const ChosenDepth result = choose_depth_and_test(estimators()[0], {bad.x, good.x}, good.y, fold);
  EXPECT_EQ(result.chosen, (std::vector<int>{1, 1, 1, 1, 1}));
  EXPECT_GE(result.accuracy, 0.95);
  EXPECT_MENTIONS(error_text([&] {
                    choose_depth_and_test(estimators()[0], {good.x}, good.y, folds_by_item(good.items, 2));
                  }),
                  "at least 3");
}

// ---- CCS ----

TEST(Ccs, LossHasItsKnownValues) {
  EXPECT_EQ(ccs_loss(1, 0), 0);
  EXPECT_EQ(ccs_loss(0.5, 0.5), 0.25);
  EXPECT_EQ(ccs_loss(1, 1), 2);  // 1 inconsistent + 1 not confident
  EXPECT_EQ(ccs_loss(0, 0), 1);
  EXPECT_EQ(ccs_loss(0.3, 0.9), ccs_loss(0.9, 0.3));
}

TEST(Ccs, GradientAgreesWithDifferences) {
  const Items m = two_rows_per_item(12, 2, 7);
  ContrastPairs pairs{{0, 8, {}}, {0, 8, {}}};
  for (int64_t i = 0; i < 12; ++i) pairs.plus.add(m.x.row(2 * i)), pairs.minus.add(m.x.row(2 * i + 1));
  std::vector<double> w = {0.3, -0.2, 0.1, 0.5, -0.4, 0.2, 0.1, -0.1, 0.05}, gradient, ignored;
  ccs_objective(w, pairs.plus, pairs.minus, gradient);
  for (size_t j = 0; j < w.size(); ++j) {
    // central difference with h = 1e-5: truncation ~ h², rounding ~ 1e-16 / h: both below 1e-10 · (third derivative ~ 1)
    std::vector<double> up = w, down = w;
    up[j] += 1e-5, down[j] -= 1e-5;
    const double slope = (ccs_objective(up, pairs.plus, pairs.minus, ignored) -
                          ccs_objective(down, pairs.plus, pairs.minus, ignored)) /
                         2e-5;
    EXPECT_NEAR(gradient[j], slope, 1e-8);
  }
}

struct Truth {
  ContrastPairs pairs;
  Labels plus_is_true;
};
// Truth along coordinate 0, ±2; group membership along coordinate 1, ±4.
Truth contrast_data(int n, uint64_t seed) {
  Truth t{{{0, 8, {}}, {0, 8, {}}}, {}};
  for (int i = 0; i < n; ++i) {
    const int is_true = int(random_word(seed + 1, uint64_t(i)) & 1);
    for (int group : {1, 0}) {
      std::vector<float> row;
      for (int j = 0; j < 8; ++j)
        row.push_back(0.3f * random_normal(seed, uint64_t((i * 2 + group) * 8 + j)));
      row[0] += (is_true == group) ? 2.0f : -2.0f;
      row[1] += group ? 4.0f : -4.0f;
      (group ? t.pairs.plus : t.pairs.minus).add(row.data());
    }
    t.plus_is_true.push_back(is_true);
  }
  return t;
}

TEST(Ccs, FindsTruthWithoutLabels) {
  const Truth t = contrast_data(60, 8), other = contrast_data(60, 9);
  const CcsProbe probe = ccs(t.pairs);
  EXPECT_LT(probe.loss, 0.05);
  EXPECT_GE(ccs_accuracy(probe, other.pairs, other.plus_is_true), 0.98);
  const double q = probe.q(t.pairs.plus.row(0), t.pairs.minus.row(0));
  EXPECT_NEAR(q + probe.q(t.pairs.minus.row(0), t.pairs.plus.row(0)), 1,
              0.2);  // consistent, up to the group means
}

TEST(Ccs, IgnoresWhatSeparatesTheTwoGroups) {
  const Truth t = contrast_data(60, 10);
  EXPECT_LT(std::abs(unit(ccs(t.pairs).weight)[1]), 0.1);
  // without removing the means the largest difference wins: which group a text belongs to, a coin toss about truth
  const CcsProbe naive = ccs(t.pairs, {.remove_group_means = false});
  EXPECT_GT(std::abs(unit(naive.weight)[1]), std::abs(unit(naive.weight)[0]));
}

}  // namespace
}  // namespace chalk::probes
