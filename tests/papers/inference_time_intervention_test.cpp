// Heads on made-up activations; shift, bake-in and cache on small models.
#include "papers/steering/inference_time_intervention.h"

#include <gtest/gtest.h>

#include "models/sample.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk::iti {
namespace {

TEST(Iti, Mc1AndMc2) {
  EXPECT_EQ(mc1({-1, -9}, {-2, -3}), 1);
  EXPECT_EQ(mc1({-2}, {-2}), 0);  // strictly better is asked for
  EXPECT_EQ(mc1({-5}, {}), 1);
  EXPECT_EQ(mc2({-5}, {}), 1);
  EXPECT_NEAR(mc2({0}, {0, 0, 0}), 0.25, 1e-15);
  EXPECT_NEAR(mc2({0, 0}, {0, 0}), 0.5, 1e-15);
  // a constant changes neither, even where e^s underflows
  EXPECT_NEAR(mc2({-2, -3}, {-1}), mc2({-1002, -1003}, {-1001}), 1e-12);
  EXPECT_EQ(mc1({-1002}, {-1001}), mc1({-2}, {-1}));
  for (double s : {-3.0, 0.0, 4.0}) {
    EXPECT_GE(mc2({s}, {0, 1}), 0);
    EXPECT_LE(mc2({s}, {0, 1}), 1);
  }
}

TEST(Iti, SigmaIgnoresTheSignAndFollowsTheScale) {
  Samples z{0, 3, {}};
  for (int i = 0; i < 30; ++i) {
    const float row[] = {random_normal(1, uint64_t(i * 3)), random_normal(1, uint64_t(i * 3 + 1)),
                         random_normal(1, uint64_t(i * 3 + 2))};
    z.add(row);
  }
  const Direction theta = random_direction(3, 1, 2);
  const double sigma = deviation_along(theta, z);
  EXPECT_NEAR(deviation_along(scaled(theta, -1), z), sigma, 1e-12);
  for (float& x : z.x) x *= 4;
  EXPECT_NEAR(deviation_along(theta, z), 4 * sigma, 1e-12);
  const Samples two{2, 1, {1, 3}};
  EXPECT_EQ(deviation_along({1}, two), 1);  // population: divisor 2
}

TEST(Iti, QuestionsAreNotSplit) {
  std::vector<int> question;
  for (int q = 0; q < 20; ++q)
    for (int answer = 0; answer < 3; ++answer) question.push_back(q * 2);
  const Development split = split_by_question(question, 0.2, 42);
  EXPECT_EQ(split.train.size() + split.validation.size(), question.size());
  EXPECT_EQ(split.validation.size(), 12u);
  for (int64_t a : split.train)
    for (int64_t b : split.validation) EXPECT_NE(question[size_t(a)], question[size_t(b)]);
  EXPECT_NE(split.validation, split_by_question(question, 0.2, 43).validation);
}

// Four heads of noise; the truth is planted in one of them.
struct Planted {
  std::vector<Samples> heads;
  Labels labels;
  std::vector<int> question;
  Direction v = random_direction(4, 1, 77);
};
Planted planted(int where, uint64_t seed) {
  Planted p;
  p.heads.assign(4, Samples{0, 4, {}});
  for (int i = 0; i < 120; ++i) {
    const int label = i % 2;
    p.labels.push_back(label), p.question.push_back(i / 2);
    for (int h = 0; h < 4; ++h) {
      std::vector<float> row;
      for (int j = 0; j < 4; ++j) {
        const double push = h == where ? (label ? 3 : -3) * p.v[size_t(j)] : 0;
        row.push_back(float(push + double(random_normal(seed, uint64_t((i * 4 + h) * 4 + j)))));
      }
      p.heads[size_t(h)].add(row.data());
    }
  }
  return p;
}

TEST(Iti, FindsThePlantedHead) {
  for (const int where : {0, 3}) {
    const Planted p = planted(where, 5);
    for (const DirectionKind kind : {DirectionKind::MassMean, DirectionKind::ProbeWeight}) {
      const auto ranked = rank_heads(p.heads, 2, p.labels, p.question, p.heads, {.direction = kind});
      EXPECT_EQ(ranked[0].block * 2 + ranked[0].head, where);
      EXPECT_GE(ranked[0].validation, 0.95);  // ±3σ: one error in 700
      EXPECT_NEAR(norm(ranked[0].theta), 1, 1e-12);
      EXPECT_GT(cosine(ranked[0].theta, p.v), 0.95);
      EXPECT_LE(ranked[1].validation, ranked[0].validation);
    }
    ItiOptions one{.heads = 1};
    EXPECT_EQ(chosen_heads(rank_heads(p.heads, 2, p.labels, p.question, p.heads, one), one).size(), 1u);
  }
}

TEST(Iti, ShuffledLabelsFindNoHead) {
  const Planted p = planted(1, 6);
  double sum = 0;
  constexpr int kShuffles = 10;
  for (uint64_t s = 0; s < kShuffles; ++s)
    for (const HeadShift& shift :
         rank_heads(p.heads, 2, shuffled(p.labels, s), p.question, p.heads, {.seed = s}))
      sum += shift.validation;
  EXPECT_NEAR(sum / (4 * kShuffles), 0.5,
              3 * std::sqrt(0.25 / (24 * kShuffles)));  // heads of one shuffle share labels
}

// ---- on models ----

std::vector<HeadShift> some_shifts(const LanguageModel& model) {
  const int64_t H = query_heads(model);
  return {{0, 0, random_direction(4, 1, 1), 0.7, 0},
          {0, H - 1, random_direction(4, 1, 2), 0.2, 0},
          {1, 1, random_direction(4, 1, 3), 1.5, 0}};
}

class ItiModel : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override { model = GetParam().make(); }
  Tensor logits() { return model->forward(ids); }
  std::unique_ptr<LanguageModel> model;
  const IntTensor ids = some_ids(2, 6);
  NoGrad no_grad;
};

TEST_P(ItiModel, AlphaZeroOrNoHeadsIsThePlainModel) {
  const std::vector<float> plain = logits().to_vector();
  Edits edits(model->hooks);
  add_shifts(edits, *model, some_shifts(*model), 0);
  add_shifts(edits, *model, {}, 15);
  EXPECT_EQ(logits().to_vector(), plain);
}

// x(α) − x(0) = α W_O (σ θ) in the residual after attention of the first edited block.
TEST_P(ItiModel, ShiftIsLinearInAlpha) {
  const std::string site = model->block_prefix(0) + "attn.out";
  const std::vector<HeadShift> shifts = {some_shifts(*model)[0]};
  std::vector<std::vector<float>> out;
  for (double alpha : {0.0, 1.0, 3.0}) {
    Edits edits(model->hooks);
    add_shifts(edits, *model, shifts, alpha);
    Recorder recorder(model->hooks, {site});
    logits();
    out.push_back(recorder.last.at(site).to_vector());
  }
  const bool gpt2 = std::string(model->architecture()) == "gpt2";
  const Tensor w =
      dynamic_cast<Linear&>(
          *find_slot(*model, model->block_prefix(0) + (gpt2 ? "attn.c_proj" : "self_attn.o_proj")).layer)
          .weight;
  for (size_t i = 0; i < out[0].size(); ++i) {
    double expected = 0;
    for (size_t j = 0; j < 4; ++j)
      expected += double(w.data()[int64_t(i % 8) * w.dim(1) + int64_t(j)]) * 0.7 * shifts[0].theta[j];
    EXPECT_NEAR(out[1][i] - out[0][i], expected, 1e-5);  // a sum of 16 products of numbers around 1
    EXPECT_NEAR(out[2][i] - out[0][i], 3 * expected, 1e-5);
  }
}

TEST_P(ItiModel, BakedInBiasEqualsTheHook) {
  const auto shifts = some_shifts(*model);
  std::vector<float> hooked, plain = logits().to_vector();
  {
    Edits edits(model->hooks);
    add_shifts(edits, *model, shifts, 2);
    hooked = logits().to_vector();
  }
  EXPECT_NE(hooked, plain);
  bake_in(*model, shifts, 2);
  EXPECT_TRUE(all_near(logits().to_vector(), hooked, 1e-5));
  bake_in(*model, shifts, -2);
  EXPECT_TRUE(all_near(logits().to_vector(), plain, 1e-5));
}

// Decoding with a cache, edited from the last prompt token on, against running everything again at each step.
TEST_P(ItiModel, CachedDecodingEqualsFullRecomputation) {
  const auto shifts = some_shifts(*model);
  const std::vector<int32_t> prompt = {3, 1, 4, 1};
  Edits edits(model->hooks);
  add_shifts(edits, *model, shifts, 1, kFromLastOfPrompt, Passes::Continue);
  const std::vector<int32_t> cached = generate(*model, prompt, {.max_new_tokens = 5, .temperature = 0});
  edits.clear();
  std::vector<int32_t> all = prompt;
  add_shifts(edits, *model, shifts, 1, {int64_t(prompt.size()) - 1, Positions::kForever});
  for (int step = 0; step < 5; ++step) {
    const Tensor logits = model->forward({{1, int64_t(all.size())}, all});
    all.push_back(sample_token(logits.data() + (int64_t(all.size()) - 1) * 29, 29, {.temperature = 0}, 0));
  }
  EXPECT_EQ(cached, std::vector<int32_t>(all.begin() + 4, all.end()));
}

TEST_P(ItiModel, HeadOutputsAreColumnsOfTheActivation) {
  const std::string site = model->block_prefix(1) + "attn.heads";
  const std::vector<Samples> heads = head_outputs(*model, {{1, 2, 3}});
  ASSERT_EQ(int64_t(heads.size()), 2 * query_heads(*model));
  Recorder recorder(model->hooks, {site});
  model->forward({{1, 3}, {1, 2, 3}});
  const Tensor z = slice(recorder.last.at(site), 1, 2, 1);
  for (int64_t h = 0; h < query_heads(*model); ++h)
    for (int64_t j = 0; j < 4; ++j)
      EXPECT_EQ(heads[size_t(query_heads(*model) + h)].row(0)[j], z.data()[h * 4 + j]);
}

INSTANTIATE_TEST_SUITE_P(Models, ItiModel, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk::iti
