// The symmetries of activation addition, and cached decoding against full recomputation.
#include "papers/steering/activation_addition.h"

#include <gtest/gtest.h>

#include "models/sample.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk::actadd {
namespace {

const Ids kPlus = {1, 5, 6, 7}, kMinus = {1, 5, 9, 2};
constexpr int32_t kSpace = 28;

class ActAdd : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override { model = GetParam().make(); }
  std::unique_ptr<LanguageModel> model;
  const IntTensor ids = some_ids(2, 6);
  NoGrad no_grad;
};

TEST_P(ActAdd, CoefficientZeroOrEqualPromptsIsThePlainModel) {
  const std::vector<float> plain = model->forward(ids).to_vector();
  Edits edits(model->hooks);
  add(edits, *model, activation_difference(*model, kPlus, kMinus, 1, kSpace), 0);
  add(edits, *model, activation_difference(*model, kPlus, kPlus, 1, kSpace), 5);
  EXPECT_EQ(model->forward(ids).to_vector(), plain);
}

TEST_P(ActAdd, SwappingThePromptsNegates) {
  const Addition a = activation_difference(*model, kPlus, kMinus, 1, kSpace),
                 b = activation_difference(*model, kMinus, kPlus, 1, kSpace);
  ASSERT_EQ(a.length(), 4);
  for (size_t i = 0; i < a.rows.size(); ++i) EXPECT_EQ(a.rows[i], -b.rows[i]);
}

TEST_P(ActAdd, TheRowOfBosIsZero) {
  const Addition a = activation_difference(*model, kPlus, {1, 4}, 1, kSpace);  // the shorter one is padded
  EXPECT_EQ(a.length(), 4);
  for (int64_t c = 0; c < 8; ++c) EXPECT_EQ(a.rows[size_t(c)], 0);
  EXPECT_MENTIONS(error_text([&] { activation_difference(*model, kPlus, {5, 9}, 1, kSpace); }), "BOS");
}

TEST_P(ActAdd, PaddingIsTheSpaceToken) {
  const Addition padded = activation_difference(*model, kPlus, {1, 4}, 1, kSpace);
  const Addition written = activation_difference(*model, kPlus, {1, 4, kSpace, kSpace}, 1, kSpace);
  EXPECT_EQ(padded.rows, written.rows);
}

// Rows 0 and 1 agree (BOS, 5): positions 0 and 1 keep their logits bit for bit.
TEST_P(ActAdd, ChangesNothingBeforeTheFirstNonZeroRow) {
  const Tensor plain = model->forward(ids);
  Edits edits(model->hooks);
  add(edits, *model, activation_difference(*model, kPlus, kMinus, 1, kSpace), 5);
  const Tensor steered = model->forward(ids);
  EXPECT_EQ(slice(steered, 1, 0, 2).to_vector(), slice(plain, 1, 0, 2).to_vector());
  EXPECT_NE(slice(steered, 1, 2, 1).to_vector(), slice(plain, 1, 2, 1).to_vector());
}

TEST_P(ActAdd, AdditionsSum) {
  const Addition a = activation_difference(*model, kPlus, kMinus, 1, kSpace);
  std::vector<float> once, twice;
  {
    Edits edits(model->hooks);
    add(edits, *model, a, 2);
    once = model->forward(ids).to_vector();
  }
  Edits edits(model->hooks);
  add(edits, *model, a, 0.5), add(edits, *model, a, 1.5);
  EXPECT_TRUE(all_near(model->forward(ids).to_vector(), once,
                       1e-4));  // two roundings instead of one, then two blocks
}

TEST_P(ActAdd, CachedDecodingEqualsFullRecomputation) {
  const Addition a = activation_difference(*model, kPlus, kMinus, 1, kSpace);
  const std::vector<int32_t> prompt = {1, 3, 4, 8, 2};
  Edits edits(model->hooks);
  add(edits, *model, a, 3, Passes::Continue);
  const std::vector<int32_t> cached = generate(*model, prompt, {.max_new_tokens = 5, .temperature = 0});
  edits.clear();
  add(edits, *model, a, 3);  // positions of the prompt only, in every full pass
  std::vector<int32_t> all = prompt;
  for (int step = 0; step < 5; ++step) {
    const Tensor logits = model->forward({{1, int64_t(all.size())}, all});
    all.push_back(sample_token(logits.data() + (int64_t(all.size()) - 1) * 29, 29, {.temperature = 0}, 0));
  }
  EXPECT_EQ(cached, std::vector<int32_t>(all.begin() + 5, all.end()));
}

TEST_P(ActAdd, AShortPromptIsRefused) {
  const Addition a = activation_difference(*model, kPlus, kMinus, 1, kSpace);
  Edits edits(model->hooks);
  add(edits, *model, a, 3, Passes::Continue);
  EXPECT_MENTIONS(error_text([&] { generate(*model, {1, 2, 3}, {.max_new_tokens = 2}); }), "3 tokens");
}

INSTANTIATE_TEST_SUITE_P(Models, ActAdd, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk::actadd
