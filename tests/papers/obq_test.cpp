// Damage, Surgeon and OBQ on a layer small enough for Eigen to check every step.
#include "papers/quantization/obq.h"

#include "papers/quantization/gptq.h"
#include "tests/eigen.h"
#include "tests/expect.h"
#include "tests/papers/layer_problem.h"

namespace chalk {
namespace {

using test::Map;
using test::Matrix;

struct Problem : LayerProblem {
  std::vector<double> h, inverse;

  explicit Problem(int64_t R = 24, int64_t C = 24, float rho = 0.9f, uint64_t seed = 1)
      : LayerProblem(R, C, 20 * C, rho, seed),
        h(obq::hessian_of(x.data(), N, C)),
        inverse(obq::inverse_of(h, C, 0)) {}
  std::vector<double> row(int64_t r) const { return {w.begin() + r * C, w.begin() + (r + 1) * C}; }
  // ½·δᵀHδ
  double cost(const std::vector<double>& from, const std::vector<double>& to) const {
    const Eigen::VectorXd d =
        Eigen::Map<const Eigen::VectorXd>(from.data(), C) - Eigen::Map<const Eigen::VectorXd>(to.data(), C);
    return 0.5 * d.dot(Map(h.data(), C, C) * d);
  }
};

// Relative: sums of 24 terms in double, amplified by a condition number below 1000.
constexpr double tolerance = 24 * 1000 * 0x1p-52;

Problem diagonal_problem() {
  Problem p;
  for (int64_t i = 0; i < p.C; ++i) {
    for (int64_t j = 0; j < p.C; ++j) p.h[size_t(i * p.C + j)] = i == j ? double(1 + i % 5) : 0;
  }
  p.inverse = obq::inverse_of(p.h, p.C, 0);
  return p;
}

TEST(Obq, DiagonalHessianMakesSurgeonDamage) {
  const Problem p = diagonal_problem();
  for (int64_t q = 0; q < p.C; ++q) {
    std::vector<double> w = p.row(0);
    const double damage = obq::damage_saliency(p.h[size_t(q * p.C + q)], w[size_t(q)]);
    EXPECT_NEAR(obq::surgeon_saliency(p.inverse[size_t(q * p.C + q)], w[size_t(q)]), damage, 1e-14 * damage);
    obq::move_weight(w, p.inverse, q, 0);
    for (int64_t i = 0; i < p.C; ++i) EXPECT_EQ(w[size_t(i)], i == q ? 0 : p.row(0)[size_t(i)]);
  }
  std::vector<double> a = p.row(1), b = p.row(1);
  const double damage = obq::prune_row(a, p.h, 10, obq::Pruner::Damage);
  EXPECT_NEAR(obq::prune_row(b, p.h, 10, obq::Pruner::Surgeon), damage, 1e-13);
  EXPECT_EQ(a, b);
}

TEST(Obq, DiagonalHessianIsRounding) {
  const Problem p = diagonal_problem();
  const QuantizerOptions quantizer{.bits = 3};
  for (obq::Order order : {obq::Order::Greedy, obq::Order::Natural}) {
    EXPECT_EQ(obq::quantize(p.w.data(), p.R, p.C, p.h, {.quantizer = quantizer, .order = order}).weight.codes,
              round_to_nearest(p.w.data(), p.R, p.C, quantizer).codes);
  }
}

TEST(Obq, StepReachesItsTargetAtLeastCost) {
  const Problem p;
  for (int64_t q = 0; q < p.C; ++q) {
    for (double target : {0.0, 0.25}) {
      const std::vector<double> before = p.row(q % p.R);
      std::vector<double> w = before;
      const double expected = obq::move_weight(w, p.inverse, q, target);
      EXPECT_EQ(w[size_t(q)], target);
      const double cost = p.cost(before, w);
      EXPECT_NEAR(cost, expected, tolerance * cost);
      for (int64_t other = 0; other < p.C; ++other) {  // any other way to the same target costs more
        if (other == q) continue;
        std::vector<double> worse = w;
        worse[size_t(other)] += 0.01;
        EXPECT_GT(p.cost(before, worse), cost);
      }
    }
  }
}

TEST(Obq, RepairedDeletionNeverCostsMoreThanThePlainOne) {
  const Problem p;
  for (int64_t r = 0; r < p.R; ++r) {
    for (int64_t q = 0; q < p.C; ++q) {
      std::vector<double> repaired = p.row(r), plain = p.row(r);
      obq::move_weight(repaired, p.inverse, q, 0);
      plain[size_t(q)] = 0;
      EXPECT_LE(p.cost(p.row(r), repaired), p.cost(p.row(r), plain) * (1 + tolerance));
    }
    std::vector<double> surgeon = p.row(r), damage = p.row(r);
    obq::prune_row(surgeon, p.h, p.C / 2, obq::Pruner::Surgeon);
    obq::prune_row(damage, p.h, p.C / 2, obq::Pruner::Damage);
    EXPECT_LT(p.cost(p.row(r), surgeon), p.cost(p.row(r), damage)) << r;
    EXPECT_EQ(std::count(surgeon.begin(), surgeon.end(), 0.0), p.C / 2);
  }
}

TEST(Obq, RemovedIndexGivesTheInverseOfTheRest) {
  const Problem p;
  std::vector<double> inverse = p.inverse;
  std::vector<int64_t> left;
  for (int64_t i = 0; i < p.C; ++i) left.push_back(i);
  for (int64_t q : {7, 0, 23, 12}) {
    obq::remove_index(inverse, p.C, q);
    left.erase(std::find(left.begin(), left.end(), q));
    Matrix rest(left.size(), left.size());
    for (size_t i = 0; i < left.size(); ++i) {
      for (size_t j = 0; j < left.size(); ++j) rest(i, j) = p.h[size_t(left[i] * p.C + left[j])];
    }
    const Matrix want = rest.inverse();
    for (size_t i = 0; i < left.size(); ++i) {
      for (size_t j = 0; j < left.size(); ++j) {
        EXPECT_NEAR(inverse[size_t(left[i] * p.C + left[j])], want(i, j), tolerance * want.maxCoeff());
      }
    }
    for (int64_t i = 0; i < p.C; ++i) EXPECT_EQ(inverse[size_t(i * p.C + q)], 0);
  }
}

TEST(Obq, StepCostsAddUpToTheError) {
  const Problem p;
  for (obq::Order order : {obq::Order::Greedy, obq::Order::Natural}) {
    const obq::Result result =
        obq::quantize(p.w.data(), p.R, p.C, p.h, {.quantizer = {.bits = 3}, .order = order});
    double sum = 0;
    for (double cost : result.costs) sum += cost;
    const double error = obq::output_error(p.w.data(), dequantize(result.weight), p.h, p.R, p.C);
    EXPECT_NEAR(sum, error, tolerance * error);
  }
}

TEST(Obq, NaturalOrderIsGptq) {
  for (int bits : {2, 3, 4}) {
    const Problem p;
    const QuantizerOptions quantizer{.bits = bits};
    const obq::Options natural{
        .quantizer = quantizer, .order = obq::Order::Natural, .outlier_rule = false, .damping = 0.01};
    gptq::Hessian h(p.C);
    h.add(p.x.data(), p.N);
    const gptq::Options options{.quantizer = quantizer, .block_size = 8};
    EXPECT_EQ(obq::quantize(p.w.data(), p.R, p.C, p.h, natural).weight.codes,
              gptq::quantize(p.w.data(), p.R, p.C, gptq::factor_hessian(h, options), options).weight.codes);
  }
}

// Not a theorem: in nearly every row, and always in the sum.
TEST(Obq, BelowRoundingAndNearGptq) {
  for (int bits : {2, 3, 4}) {
    const Problem p;
    const QuantizerOptions quantizer{.bits = bits};
    const obq::Result result =
        obq::quantize(p.w.data(), p.R, p.C, p.h, {.quantizer = quantizer, .damping = 0.01});
    const std::vector<float> ours = dequantize(result.weight);
    const std::vector<float> rounded = dequantize(round_to_nearest(p.w.data(), p.R, p.C, quantizer));
    int better = 0;
    for (int64_t r = 0; r < p.R; ++r) {
      const std::vector<double> a(ours.begin() + r * p.C, ours.begin() + (r + 1) * p.C);
      const std::vector<double> b(rounded.begin() + r * p.C, rounded.begin() + (r + 1) * p.C);
      better += p.cost(p.row(r), a) < p.cost(p.row(r), b);
    }
    EXPECT_GE(better, 22) << bits;
    gptq::Hessian h(p.C);
    h.add(p.x.data(), p.N);
    const gptq::Options options{.quantizer = quantizer};
    const std::vector<float> gptqs =
        dequantize(gptq::quantize(p.w.data(), p.R, p.C, gptq::factor_hessian(h, options), options).weight);
    const double obq_error = obq::output_error(p.w.data(), ours, p.h, p.R, p.C);
    const double gptq_error = obq::output_error(p.w.data(), gptqs, p.h, p.R, p.C);
    EXPECT_LT(obq_error, 0.8 * obq::output_error(p.w.data(), rounded, p.h, p.R, p.C));
    EXPECT_NEAR(obq_error / gptq_error, 1, 0.25) << bits;
  }
}

TEST(Obq, ZerosAndDeadInputsStay) {
  Problem p;
  for (int64_t i = 0; i < p.R * p.C; i += 3) p.w[size_t(i)] = 0;
  for (int64_t n = 0; n < p.N; ++n) p.x[size_t(n * p.C + 5)] = 0;
  p.h = obq::hessian_of(p.x.data(), p.N, p.C);
  const std::vector<float> values =
      dequantize(obq::quantize(p.w.data(), p.R, p.C, p.h, {.quantizer = {.bits = 3}}).weight);
  for (int64_t i = 0; i < p.R * p.C; ++i) {
    if (i % 3 == 0 || i % p.C == 5) {
      EXPECT_EQ(values[size_t(i)], 0) << i;
    }
  }
}

// Weight 2 has been pushed beyond the grid 0 … 7: it goes first, although weight 0 costs nothing.
TEST(Obq, OutliersGoFirst) {
  obq::Row row{
      .w = {1, 3.2, 9, 8}, .inverse = std::vector<double>(16), .done = std::vector<char>(4), .grids = {}};
  for (int64_t q = 0; q < 4; ++q) {
    row.inverse[size_t(q * 5)] = 1;
    row.grids.push_back({.scale = 1, .zero = 0, .maximum = 7});
  }
  EXPECT_EQ(obq::cheapest(row, false), 0);
  EXPECT_EQ(obq::cheapest(row, true), 2);
  row.done[2] = 1;
  EXPECT_EQ(obq::cheapest(row, true), 3);
  row.done[3] = 1;
  EXPECT_EQ(obq::cheapest(row, true), 0);
}

TEST(Obq, SingularHessianGetsTheIdentity) {
  const std::vector<double> ones(9, 1.0);
  for (double value : obq::inverse_of(ones, 3, 0)) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace chalk
