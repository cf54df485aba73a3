// Reading vectors on made-up states, control operators and contrast vectors on small models.
#include "papers/steering/representation_engineering.h"

#include <gtest/gtest.h>

#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk::repe {
namespace {

constexpr int64_t kWidth = 12, kPairs = 200;

// Pairs whose members differ by `length` along v, plus noise; both share an offset of the pair's own.
struct Planted {
  Samples positive, negative;
  Direction v;
};
Planted planted(double length, uint64_t seed) {
  Planted p{{0, kWidth, {}}, {0, kWidth, {}}, random_direction(kWidth, 1, 99)};
  for (int64_t i = 0; i < kPairs; ++i) {
    std::vector<float> a, b;
    for (int64_t j = 0; j < kWidth; ++j) {
      const uint64_t at = uint64_t((i * kWidth + j) * 3);
      const double offset = 5 * double(random_normal(seed, at)), push = length / 2 * p.v[size_t(j)];
      a.push_back(float(offset + push + 0.1 * double(random_normal(seed, at + 1))));
      b.push_back(float(offset - push + 0.1 * double(random_normal(seed, at + 2))));
    }
    p.positive.add(a.data()), p.negative.add(b.data());
  }
  return p;
}

Pairs in_order(const Samples& positive, const Samples& negative) {
  return {positive, negative, Labels(size_t(positive.n), 1)};
}

std::vector<double> second_moment(const Samples& d) {
  std::vector<double> m(size_t(d.d * d.d), 0.0);
  for (int64_t i = 0; i < d.n; ++i)
    for (int64_t j = 0; j < d.d; ++j)
      for (int64_t k = 0; k < d.d; ++k) m[size_t(j * d.d + k)] += double(d.row(i)[j]) * double(d.row(i)[k]);
  return m;
}

TEST(RepE, PcaFindsAPlantedDirection) {
  const Planted p = planted(2, 1);
  for (const bool unit_rows : {false, true}) {
    const ReadingVector v = read_pairs(shuffled_pairs(p.positive, p.negative, 1), {.unit_rows = unit_rows});
    EXPECT_NEAR(norm(v.direction), 1, 1e-12);
    EXPECT_GT(std::abs(cosine(v.direction, p.v)),
              0.99);  // noise 0.14 per coordinate against ±2: angle about 0.01
    EXPECT_GT(v.sign * cosine(v.direction, p.v), 0.99);
    EXPECT_EQ(pair_accuracy(v, p.positive, p.negative), 1);
  }
}

TEST(RepE, ClusterMeanIsTheDifferenceOfMeans) {
  const Planted p = planted(2, 2);
  const ReadingVector v =
      read_pairs(shuffled_pairs(p.positive, p.negative, 1), {.reader = Reader::ClusterMean});
  Direction expected = mean_row(p.positive);
  const Direction negative = mean_row(p.negative);
  for (size_t j = 0; j < expected.size(); ++j) expected[j] -= negative[j];
  for (size_t j = 0; j < expected.size(); ++j)
    EXPECT_NEAR(v.direction[j], expected[j], 1e-9);  // only the order of sums
  EXPECT_EQ(v.sign, 1);
}

TEST(RepE, RandomReaderIsReproducibleAndKnowsNothing) {
  const Planted p = planted(0, 3);
  const Pairs pairs = shuffled_pairs(p.positive, p.negative, 1);
  const ReadingVector v = read_pairs(pairs, {.reader = Reader::Random, .seed = 4});
  EXPECT_EQ(v.direction, read_pairs(pairs, {.reader = Reader::Random, .seed = 4}).direction);
  const Planted other = planted(0, 5);
  EXPECT_NEAR(pair_accuracy(v, other.positive, other.negative), 0.5, 3 * std::sqrt(0.25 / kPairs));
}

TEST(RepE, SecondMomentDoesNotKnowTheOrder) {
  const Planted p = planted(2, 6);
  const Pairs a = shuffled_pairs(p.positive, p.negative, 1), b = shuffled_pairs(p.positive, p.negative, 2);
  EXPECT_EQ(second_moment(differences(a)),
            second_moment(differences(b)));  // (−D)(−D)ᵀ = DDᵀ: the same products
  EXPECT_NE(differences(a).x, differences(b).x);
}

// Centring deletes the concept when the positive member always comes first: μ is the concept then.
TEST(RepE, WithoutShufflingCentringLosesTheConcept) {
  const Planted p = planted(2, 7);
  EXPECT_LT(std::abs(cosine(read_pairs(in_order(p.positive, p.negative)).direction, p.v)), 0.9);
  EXPECT_GT(std::abs(cosine(read_pairs(shuffled_pairs(p.positive, p.negative, 1)).direction, p.v)), 0.99);
}

TEST(RepE, PermutingWholePairsChangesNothing) {
  const Planted p = planted(2, 8);
  const Pairs pairs = shuffled_pairs(p.positive, p.negative, 1);
  std::vector<int64_t> order;
  for (int64_t i = 0; i < kPairs; ++i)
    order.push_back((i * 7 + 3) % kPairs);  // 7 and 200 have no common factor
  Pairs permuted{select_rows(pairs.first, order), select_rows(pairs.second, order), {}};
  for (int64_t i : order) permuted.first_is_positive.push_back(pairs.first_is_positive[size_t(i)]);
  const ReadingVector a = read_pairs(pairs), b = read_pairs(permuted);
  for (int64_t j = 0; j < kWidth; ++j) EXPECT_NEAR(a.direction[size_t(j)], b.direction[size_t(j)], 1e-9);
  EXPECT_EQ(a.sign, b.sign);
}

TEST(RepE, ConstantShiftChangesNothing) {
  Planted p = planted(2, 9);
  const ReadingVector before = read_pairs(shuffled_pairs(p.positive, p.negative, 1));
  const double accuracy_before = pair_accuracy(before, p.positive, p.negative);
  for (Samples* s : {&p.positive, &p.negative})
    for (float& x : s->x) x += 8;
  const ReadingVector after = read_pairs(shuffled_pairs(p.positive, p.negative, 1));
  for (int64_t j = 0; j < kWidth; ++j)
    EXPECT_NEAR(after.direction[size_t(j)], before.direction[size_t(j)], 1e-6);  // x + 8 is rounded
  EXPECT_EQ(after.sign, before.sign);
  EXPECT_EQ(pair_accuracy(after, p.positive, p.negative), accuracy_before);
}

TEST(RepE, SignFlipsWithLabels) {
  const Planted p = planted(2, 10);
  Pairs pairs = shuffled_pairs(p.positive, p.negative, 1);
  const ReadingVector a = read_pairs(pairs);
  for (int& label : pairs.first_is_positive) label = 1 - label;
  const ReadingVector b = read_pairs(pairs);
  EXPECT_EQ(a.direction, b.direction);
  EXPECT_EQ(a.sign, -b.sign);
  ReadingVector flat{Direction(kWidth, 1.0), Direction(kWidth, 0.0), 0};
  EXPECT_EQ(sign_of(flat, in_order(p.positive, p.positive)), 1);  // a tie
}

// ---- control ----

TEST(RepE, PieceWiseEqualsLinearOnThePositiveSide) {
  const Direction c = {1, 2, 0};
  std::vector<float> with = {1, 1, 5}, same = with, against = {-1, -1, 5};
  control(with.data(), c, {.op = Operator::PieceWise}), control(same.data(), c, {});
  EXPECT_EQ(with, same);
  control(against.data(), c, {.op = Operator::PieceWise});
  EXPECT_EQ(against, (std::vector<float>{-2, -3, 5}));  // pushed on, to the side where it is
}

TEST(RepE, ProjectionRemovesTheDirectionOnce) {
  const Direction c = {0.6, -0.3, 2.0};
  std::vector<float> h = {1.5f, -2, 0.25f};
  control(h.data(), c, {.op = Operator::Projection});
  EXPECT_NEAR(dot(c, h.data()), 0, 1e-6);  // |h| ε, times |c|
  std::vector<float> again = h;
  control(again.data(), c, {.op = Operator::Projection});
  EXPECT_TRUE(all_near(again, h, 1e-6));
}

TEST(RepE, KeepNormKeepsTheNorm) {
  for (const Operator op : {Operator::Linear, Operator::PieceWise, Operator::Projection}) {
    std::vector<float> h = {3, 4, 12};
    control(h.data(), {1, -2, 0.5}, {.op = op, .keep_norm = true});
    EXPECT_NEAR(std::hypot(h[0], h[1], h[2]), 13, 1e-5);
  }
}

class RepEModel : public testing::TestWithParam<ModelCase> {};

TEST_P(RepEModel, CoefficientZeroIsThePlainModel) {
  const auto model = GetParam().make();
  NoGrad no_grad;
  const IntTensor ids = some_ids(2, 6);
  const std::vector<float> plain = model->forward(ids).to_vector();
  for (const Operator op : {Operator::Linear, Operator::PieceWise, Operator::Projection}) {
    Edits edits(model->hooks);
    const Controllers c{{1, random_direction(8, 3, 1)}, {2, random_direction(8, 3, 2)}};
    add_control(edits, *model, scaled(c, 0), {.op = op});
    EXPECT_EQ(model->forward(ids).to_vector(), plain);
    add_control(edits, *model, c, {.op = op});
    EXPECT_NE(model->forward(ids).to_vector(), plain);
  }
}

TEST_P(RepEModel, ContrastOfEqualTemplatesIsThePlainModel) {
  const auto model = GetParam().make();
  NoGrad no_grad;
  const Ids plain = {1, 7, 8}, template_ids = {2, 3, 7, 8};
  const ContrastOptions options{.blocks = {0, 1}, .alpha = 0.5, .tokens = 2};
  // going block by block is the same computation as forward
  EXPECT_EQ(contrast_logits(*model, plain, template_ids, template_ids, options).to_vector(),
            model->forward({{1, 3}, plain}).to_vector());
  const Tensor moved = contrast_logits(*model, plain, {2, 4, 7, 8}, template_ids, options);
  EXPECT_NE(moved.to_vector(), model->forward({{1, 3}, plain}).to_vector());
  // the first token is not among the shared ones: its logits stay
  EXPECT_EQ(slice(moved, 1, 0, 1).to_vector(), slice(model->forward({{1, 3}, plain}), 1, 0, 1).to_vector());
}

INSTANTIATE_TEST_SUITE_P(Models, RepEModel, testing::ValuesIn(kModelCases), model_test_name);

TEST(RepE, RandomControllersHaveEqualLength) {
  const Controllers c{{1, random_direction(8, 3, 1)}, {2, random_direction(8, 0.5, 2)}},
      r = random_like(c, 1);
  for (const auto& [depth, v] : c) {
    EXPECT_NEAR(norm(r.at(depth)), norm(v), 1e-12);
    EXPECT_LT(std::abs(cosine(r.at(depth), v)), 0.95);
  }
}

TEST(RepE, ChoiceStaysWithinTheBudget) {
  const std::vector<SweepPoint> points = {
      {{1}, 1, 0.2, 0.01}, {{2}, 1, 0.5, 0.1}, {{3}, 1, 0.9, 0.11}, {{4}, 1, 0.5, 0.0}};
  EXPECT_EQ(choose(points, 0.1).depths,
            std::vector<int64_t>{2});  // exactly on the budget is within it; first of equals
  EXPECT_EQ(choose(points, 1).depths, std::vector<int64_t>{3});
  EXPECT_MENTIONS(error_text([&] { choose({{{1}, 1, 1, 0.2}}, 0.1); }), "0.1 nats");
}

// At step 0 the adapter changes nothing, so the loss is α · mean |m (h⁺ − h⁻)|.
TEST(RepE, LorraLossAtStepZero) {
  const std::vector<float> h = {1, 2, 3, 4, 5, 6}, plus = {3, 4, 0, 0, 1, 1}, minus = {0, 0, 0, 0, 1, 0},
                           mask = {1, 0, 1};
  // norms of h⁺ − h⁻: 5, 0, 1; the masked position counts as 0 in the mean of three
  EXPECT_NEAR(lorra_loss(h, lorra_target(h, plus, minus, 2), mask), 2 * (5 + 1) / 3.0, 1e-6);
  EXPECT_EQ(lorra_target(h, plus, minus, 0, 2, {1, -1}), (std::vector<float>{3, 0, 5, 2, 7, 4}));
  EXPECT_EQ(lorra_loss(h, lorra_target(h, plus, plus, 5), {1, 1, 1}), 0);
}

}  // namespace
}  // namespace chalk::repe
