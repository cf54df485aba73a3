// The algebra of ablation, addition and the affine edit; the filter table; weights that equal the hooks.
#include "papers/steering/refusal_direction.h"

#include <gtest/gtest.h>

#include "tests/eigen.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk::refusal {
namespace {

TEST(Refusal, ScoreIsLogOdds) {
  EXPECT_EQ(refusal_score({0.5, 0.5}, {0}), 0);
  EXPECT_NEAR(refusal_score({0.2, 0.7, 0.1}, {0, 2}), std::log(0.3 / 0.7), 1e-7);
  EXPECT_NEAR(refusal_score({0.3, 0.7}, {0}), -refusal_score({0.3, 0.7}, {1}), 1e-12);  // odd
  EXPECT_TRUE(std::isfinite(refusal_score({1, 0}, {0})));
  EXPECT_TRUE(std::isfinite(refusal_score({1, 0}, {1})));
}

TEST(Refusal, KlOfEqualIsZero) {
  const Samples a{2, 3, {1, 2, 3, 0, 0, 0}}, b{2, 3, {3, 2, 1, 0, 0, 0}};
  EXPECT_EQ(mean_kl(a, a), 0);
  EXPECT_GT(mean_kl(a, b), 0.1);
}

TEST(Refusal, AblationRemovesTheDirectionOnce) {
  const Direction r = random_direction(8, 5, 1), u = unit(r);
  std::vector<float> x;
  for (int j = 0; j < 8; ++j) x.push_back(10 * random_normal(2, uint64_t(j)));
  double length = 0;
  for (float value : x) length += double(value) * double(value);
  std::vector<float> once = x, scaled_r = x;
  ablate(once.data(), u);
  EXPECT_LT(std::abs(dot(u, once.data())), 1e-5 * std::sqrt(length));
  std::vector<float> twice = once;
  ablate(twice.data(), u);
  EXPECT_TRUE(all_near(twice, once, 1e-5));
  ablate(scaled_r.data(), unit(scaled(r, 7)));  // the length of r does not matter
  EXPECT_TRUE(all_near(scaled_r, once, 1e-5));
  std::vector<float> negative = x;
  ablate(negative.data(), unit(scaled(r, -1)));
  EXPECT_TRUE(all_near(negative, once, 1e-5));
}

TEST(Refusal, AffineEditMovesToTheAllowedMean) {
  const Direction u = unit(random_direction(8, 1, 3));
  std::vector<float> x;
  for (int j = 0; j < 8; ++j) x.push_back(random_normal(4, uint64_t(j)));
  std::vector<float> moved = x;
  move_to(moved.data(), u, -3.5);
  EXPECT_NEAR(dot(u, moved.data()), -3.5, 1e-5);
  std::vector<float> across = x, across_moved = moved;  // nothing changes across r̂
  ablate(across.data(), u), ablate(across_moved.data(), u);
  EXPECT_TRUE(all_near(across, across_moved, 1e-5));
  std::vector<float> zero = x;
  move_to(zero.data(), u, 0), ablate(x.data(), u);
  EXPECT_TRUE(all_near(zero, x, 1e-6));  // target 0 is ablation
}

Candidate candidate(int64_t depth, double bypass, double induce, double kl) {
  return {depth, 1, {1, 0}, 0, 0, bypass, induce, kl};
}

TEST(Refusal, FilterNamesEachReason) {
  struct Row {
    Candidate c;
    int64_t L;
    std::string reason;
  };
  Candidate zero = candidate(0, 0, 1, 0);
  zero.direction = {0, 0};
  const std::vector<Row> table = {
      {candidate(1, -1, 1, 0.05), 4, ""},
      {candidate(1, NAN, 1, 0.05), 4, "a score is not a number"},
      {candidate(1, -1, NAN, 0.05), 4, "a score is not a number"},
      {candidate(1, -1, 1, NAN), 4, "a score is not a number"},
      {zero, 4, "no difference here"},
      {candidate(3, -1, 1, 0.05), 4, "too late"},  // floor(0.8 · 4) = 3 itself is rejected
      {candidate(2, -1, 1, 0.05), 4, ""},
      {candidate(7, -1, 1, 0.05), 10, ""},
      {candidate(8, -1, 1, 0.05), 10, "too late"},
      {candidate(1, -1, 1, 0.1), 4, ""},  // exactly on the threshold is kept
      {candidate(1, -1, 1, 0.1001), 4, "changes allowed replies"},
      {candidate(1, -1, 0, 0.05), 4, ""},
      {candidate(1, -1, -0.001, 0.05), 4, "does not induce"},
  };
  for (const Row& row : table) EXPECT_EQ(rejection(row.c, row.L), row.reason);
}

TEST(Refusal, SelectsTheSmallestBypassAmongTheKept) {
  std::vector<Candidate> all = {candidate(1, -2, 1, 0.05), candidate(2, -9, 1, 0.5),
                                candidate(2, -4, 1, 0.05)};
  EXPECT_EQ(select(all, 4), &all[2]);
  for (Candidate& c : all) c.induce = -1;
  EXPECT_EQ(select(all, 4), nullptr);  // nothing is loosened
}

class RefusalModel : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override { model = GetParam().make(); }
  std::unique_ptr<LanguageModel> model;
  const IntTensor ids = some_ids(2, 6);
  const std::vector<Ids> forbidden = {{1, 2, 3, 9}, {4, 2, 3, 9}, {5, 6, 9}},
                         allowed = {{7, 8, 9}, {10, 11, 12, 9}};
  const Direction r = random_direction(8, 3, 1);
  NoGrad no_grad;
};

TEST_P(RefusalModel, SwappingClassesNegatesTheDirection) {
  const auto a = candidates(*model, forbidden, allowed, 2), b = candidates(*model, allowed, forbidden, 2);
  ASSERT_EQ(a.size(), 4u);  // two positions, depths 0 and 1
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < 8; ++j) EXPECT_NEAR(a[i].direction[j], -b[i].direction[j], 1e-12);
  Edits edits(model->hooks);
  add_ablation(edits, *model, a[3].direction);
  const std::vector<float> one = model->forward(ids).to_vector();
  edits.clear();
  add_ablation(edits, *model, b[3].direction);
  EXPECT_TRUE(all_near(model->forward(ids).to_vector(), one, 1e-4));
  EXPECT_GT(a[3].forbidden, a[3].allowed);
}

TEST_P(RefusalModel, AddingAndSubtractingIsTheIdentity) {
  const Tensor plain = model->forward(ids);
  Edits edits(model->hooks);
  add_direction(edits, *model, 1, r, 1);
  EXPECT_NE(model->forward(ids).to_vector(), plain.to_vector());
  add_direction(edits, *model, 1, r, -1);
  EXPECT_TRUE(
      all_near(model->forward(ids), plain, 1e-4));  // (x + r) − r rounds twice, then a block and the head
}

TEST_P(RefusalModel, AblatedStreamHasNoComponent) {
  Edits edits(model->hooks);
  add_ablation(edits, *model, r);
  Recorder recorder(model->hooks,
                    {residual_name(*model, 0), residual_name(*model, 1), residual_name(*model, 2)});
  model->forward(ids);
  for (const auto& [name, x] : recorder.last)
    for (int64_t i = 0; i < 12; ++i) EXPECT_NEAR(dot(unit(r), x.data() + i * 8), 0, 1e-5 * 8);
}

TEST_P(RefusalModel, OrthogonalWeightsEqualTheHooks) {
  std::vector<float> hooked;
  {
    Edits edits(model->hooks);
    add_ablation(edits, *model, r);
    hooked = model->forward(ids).to_vector();
  }
  orthogonalise(*model, r);
  EXPECT_TRUE(all_near(model->forward(ids).to_vector(), hooked, 1e-4));
  for (const NamedTensor& p : model->parameters()) {  // r̂ᵀ W' = 0 for every product that writes
    if (!p.name.ends_with("o_proj.weight") && !p.name.ends_with("down_proj.weight") &&
        !p.name.ends_with("c_proj.weight"))
      continue;
    for (int64_t j = 0; j < p.tensor.dim(1); ++j) {
      double along = 0;
      for (int64_t i = 0; i < 8; ++i)
        along += unit(r)[size_t(i)] * double(p.tensor.data()[i * p.tensor.dim(1) + j]);
      EXPECT_NEAR(along, 0, 1e-6);
    }
  }
}

TEST_P(RefusalModel, BakedInAdditionEqualsTheHook) {
  std::vector<float> hooked;
  {
    Edits edits(model->hooks);
    add_direction(edits, *model, 1, r, -1);
    hooked = model->forward(ids).to_vector();
  }
  bake_in_addition(*model, 1, r, -1);
  EXPECT_TRUE(all_near(model->forward(ids).to_vector(), hooked, 1e-4));
  EXPECT_MENTIONS(error_text([&] { bake_in_addition(*model, 0, r, 1); }), "depth 0");
}

TEST_P(RefusalModel, AffineEditPutsEveryDepthOnItsTarget) {
  const std::vector<double> targets = allowed_projections(residuals_at(*model, allowed), r);
  Edits edits(model->hooks);
  add_affine(edits, *model, r, targets);
  const std::vector<Samples> edited = residuals_at(*model, forbidden);
  for (size_t depth = 0; depth < edited.size(); ++depth)
    for (int64_t i = 0; i < edited[depth].n; ++i)
      EXPECT_NEAR(dot(unit(r), edited[depth].row(i)), targets[depth], 1e-4);
}

TEST_P(RefusalModel, ScoresComeFromTheEditedModel) {
  auto all = candidates(*model, forbidden, allowed, 1);
  score(*model, all[1], forbidden, allowed, {3});
  EXPECT_GE(all[1].kl, 0);
  const Samples plain = next_logits(*model, allowed);  // no hook is left behind
  EXPECT_EQ(mean_kl(plain, next_logits(*model, allowed)), 0);
  Edits edits(model->hooks);
  add_direction(edits, *model, 1, all[1].direction, 1);
  EXPECT_EQ(all[1].induce, mean_refusal_score(next_logits(*model, allowed), {3}));
}

INSTANTIATE_TEST_SUITE_P(Models, RefusalModel, testing::ValuesIn(kModelCases), model_test_name);

TEST(Refusal, OrthogonalisingLowersTheRankByOneAtMost) {
  const Direction u = unit(random_direction(5, 1, 2));
  const Tensor w({5, 7});
  for (int64_t i = 0; i < 35; ++i) w.data()[i] = random_normal(9, uint64_t(i));
  test::Matrix expected(5, 7), got(5, 7), projector(5, 5);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 7; ++j) expected(i, j) = double(w.data()[i * 7 + j]);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 5; ++j) projector(i, j) = (i == j) - u[size_t(i)] * u[size_t(j)];
  orthogonalise_columns(w, u);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 7; ++j) got(i, j) = double(w.data()[i * 7 + j]);
  EXPECT_LT((got - projector * expected).cwiseAbs().maxCoeff(), 1e-6);  // W' = (I − r̂ r̂ᵀ) W
  const Eigen::JacobiSVD<test::Matrix> svd(got);
  EXPECT_LT(svd.singularValues()(4), 1e-6);
  EXPECT_GT(svd.singularValues()(3), 0.1);
}

}  // namespace
}  // namespace chalk::refusal
