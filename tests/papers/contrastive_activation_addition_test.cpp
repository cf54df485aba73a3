// Linearity of the behaviour vector, the bias identity, norms, and cached decoding against full recomputation.
#include "papers/steering/contrastive_activation_addition.h"

#include <gtest/gtest.h>

#include "models/sample.h"
#include "nn/linear.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk::caa {
namespace {

Samples noise(int64_t n, uint64_t seed) {
  Samples s{n, 8, {}};
  for (int64_t i = 0; i < n * 8; ++i) s.x.push_back(random_normal(seed, uint64_t(i)));
  return s;
}

TEST(Caa, VectorOfAUnionIsTheMeanOfVectors) {
  const Samples a = noise(5, 1), b = noise(5, 2), c = noise(5, 3), d = noise(5, 4);
  const Direction one = behaviour_vector(a, b), other = behaviour_vector(c, d);
  const Direction both = behaviour_vector(concatenate(a, c), concatenate(b, d));
  const Direction doubled = behaviour_vector(concatenate(a, a), concatenate(b, b));
  for (size_t j = 0; j < 8; ++j) {
    EXPECT_NEAR(both[j], (one[j] + other[j]) / 2, 1e-14);
    EXPECT_NEAR(doubled[j], one[j], 1e-14);
  }
  const Direction swapped = behaviour_vector(b, a);
  for (size_t j = 0; j < 8; ++j) EXPECT_EQ(swapped[j], -one[j]);
  EXPECT_MENTIONS(error_text([&] { behaviour_vector(noise(2, 1), noise(3, 1)); }), "2 matching");
}

TEST(Caa, EqualisedVectorsHaveOneNorm) {
  std::vector<Direction> v = {random_direction(8, 1, 1), random_direction(8, 3, 2),
                              random_direction(8, 5, 3)};
  const std::vector<Direction> before = v;
  equalise_norms(v);
  for (size_t i = 0; i < v.size(); ++i) {
    EXPECT_NEAR(norm(v[i]), 3, 1e-12);
    EXPECT_NEAR(cosine(v[i], before[i]), 1, 1e-12);
  }
}

TEST(Caa, MatchProbabilityIsASoftmaxOverTwo) {
  EXPECT_EQ(match_probability(-1, -1), 0.5);
  EXPECT_NEAR(match_probability(std::log(0.3), std::log(0.1)), 0.75, 1e-12);
  EXPECT_EQ(match_probability(-5000, -1), 0);
}

class CaaModel : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override { model = GetParam().make(); }
  std::unique_ptr<LanguageModel> model;
  const IntTensor ids = some_ids(2, 6);
  const Direction v = random_direction(8, 2, 1);
  NoGrad no_grad;
};

TEST_P(CaaModel, MultiplierZeroIsThePlainModel) {
  const std::vector<float> plain = model->forward(ids).to_vector();
  Edits edits(model->hooks);
  add(edits, *model, 1, v, 0);
  EXPECT_EQ(model->forward(ids).to_vector(), plain);
}

TEST_P(CaaModel, OnlyTokensAfterTheMarkerAreSteered) {
  const Tensor plain = model->forward(ids);
  for (const bool from_marker : {false, true}) {
    Edits edits(model->hooks);
    add(edits, *model, 1, v, 2, {.marker = 3, .from_marker = from_marker});
    const Tensor steered = model->forward(ids);
    const int64_t first = from_marker ? 3 : 4;
    EXPECT_EQ(slice(steered, 1, 0, first).to_vector(), slice(plain, 1, 0, first).to_vector());
    EXPECT_NE(slice(steered, 1, first, 1).to_vector(), slice(plain, 1, first, 1).to_vector());
  }
}

TEST_P(CaaModel, EverywhereEqualsABias) {
  std::vector<float> hooked;
  {
    Edits edits(model->hooks);
    add(edits, *model, 1, v, 1.5, {.marker = 0, .from_marker = true});
    hooked = model->forward(ids).to_vector();
  }
  const bool gpt2 = std::string(model->architecture()) == "gpt2";
  auto& output = dynamic_cast<Linear&>(
      *find_slot(*model, model->block_prefix(0) + (gpt2 ? "mlp.c_proj" : "mlp.down_proj")).layer);
  std::vector<float> bias = output.bias.defined() ? output.bias.to_vector() : std::vector<float>(8, 0.0f);
  for (size_t j = 0; j < 8; ++j) bias[j] = float(double(bias[j]) + 1.5 * v[j]);
  output.bias = Tensor::from({8}, bias, GetParam().device);
  // the sum x + (y + b) is rounded in another order; one block and the head follow
  EXPECT_TRUE(all_near(model->forward(ids).to_vector(), hooked, 1e-4));
}

TEST_P(CaaModel, ProjectionDoesNotKnowTheMultiplier) {
  const std::string site = residual_name(*model, 1);
  std::vector<std::vector<float>> projected;
  for (double multiplier : {0.0, 2.0, -2.0}) {
    Edits edits(model->hooks);
    add(edits, *model, 1, v, multiplier, {.marker = 0, .from_marker = true, .project_first = true});
    Recorder recorder(model->hooks, {site});  // sees what the edits have made of it
    model->forward(ids);
    std::vector<float> o = recorder.last.at(site).to_vector();
    for (size_t i = 0; i < o.size(); i += 8) {
      EXPECT_NEAR(dot(v, o.data() + i), multiplier * dot(v, v), 1e-4);
      for (size_t j = 0; j < 8; ++j) o[i + j] = float(double(o[i + j]) - multiplier * v[j]);
    }
    projected.push_back(o);
  }
  EXPECT_TRUE(all_near(projected[1], projected[0], 1e-5));
  EXPECT_TRUE(all_near(projected[2], projected[0], 1e-5));
}

TEST_P(CaaModel, CachedDecodingEqualsFullRecomputation) {
  for (const bool from_marker : {false, true}) {
    const std::vector<int32_t> prompt = {1, 3, 4, 8};
    Edits edits(model->hooks);
    add(edits, *model, 1, v, 2, {.from_marker = from_marker, .passes = Passes::Continue});
    const std::vector<int32_t> cached = generate(*model, prompt, {.max_new_tokens = 5, .temperature = 0});
    edits.clear();
    add(edits, *model, 1, v, 2, {.marker = 3, .from_marker = from_marker});
    std::vector<int32_t> all = prompt;
    for (int step = 0; step < 5; ++step) {
      const Tensor logits = model->forward({{1, int64_t(all.size())}, all});
      all.push_back(sample_token(logits.data() + (int64_t(all.size()) - 1) * 29, 29, {.temperature = 0}, 0));
    }
    EXPECT_EQ(cached, std::vector<int32_t>(all.begin() + 4, all.end()));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CaaModel, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk::caa
