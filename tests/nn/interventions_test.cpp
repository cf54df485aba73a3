// Which tokens an edit touches, in whole texts and in pieces of one, on every model and device.
#include "nn/interventions.h"

#include <gtest/gtest.h>

#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

// The positions that were edited when passes of these lengths went through.
std::vector<int64_t> touched(Positions positions, Passes passes, const std::vector<int64_t>& lengths) {
  std::vector<int64_t> seen;
  const Hooks::Edit edit =
      edit_rows([&](float*, int64_t position) { seen.push_back(position); }, positions, passes);
  for (int64_t T : lengths) edit(Tensor({1, T, 2}));
  return seen;
}

TEST(Interventions, PositionsOfWholeTexts) {
  EXPECT_EQ(touched(kEverywhere, Passes::WholeTexts, {3, 2}), (std::vector<int64_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(touched(kLastOfPrompt, Passes::WholeTexts, {3, 2}), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(touched({1, 1}, Passes::WholeTexts, {3, 1, 2}), (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(touched({-2, Positions::kForever, true}, Passes::WholeTexts, {4}), (std::vector<int64_t>{3}));
}

TEST(Interventions, PositionsOfOneTextInPieces) {
  EXPECT_EQ(touched(kEverywhere, Passes::Continue, {3, 1, 1}), (std::vector<int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(touched(kLastOfPrompt, Passes::Continue, {3, 1, 1}), (std::vector<int64_t>{2}));
  EXPECT_EQ(touched(kFromLastOfPrompt, Passes::Continue, {3, 1, 1}), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(touched({-1, Positions::kForever, true}, Passes::Continue, {3, 1, 1}),
            (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(touched({0, 1}, Passes::Continue, {3, 1, 1}), (std::vector<int64_t>{0, 1}));
}

TEST(Interventions, TheActivationItselfIsNotWritten) {
  const Tensor x = Tensor::full({2, 3, 2}, 1);
  const Tensor y = add_vector({10, 20}, {1, 1})(x);
  EXPECT_EQ(x.to_vector(), std::vector<float>(12, 1.0f));
  EXPECT_EQ(y.to_vector(), (std::vector<float>{1, 1, 11, 21, 1, 1, 1, 1, 11, 21, 1, 1}));
  EXPECT_MENTIONS(error_text([&] { add_vector({1, 2, 3})(x); }), "3 numbers");
}

class EditsTest : public testing::TestWithParam<ModelCase> {};

TEST_P(EditsTest, EndWithTheirScope) {
  const auto model = GetParam().make();
  const IntTensor ids = some_ids(2, 5);
  NoGrad no_grad;
  const std::vector<float> plain = model->forward(ids).to_vector();
  {
    Edits edits(model->hooks);
    edits.add(model->block_prefix(0) + "resid_post", add_vector(std::vector<float>(8, 1.0f)));
    EXPECT_NE(model->forward(ids).to_vector(), plain);
  }
  EXPECT_EQ(model->forward(ids).to_vector(), plain);
}

TEST_P(EditsTest, ChangeNothingBeforeTheirPosition) {
  const auto model = GetParam().make();
  const IntTensor ids = some_ids(2, 5);
  NoGrad no_grad;
  const Tensor plain = model->forward(ids);
  Edits edits(model->hooks);
  edits.add(model->block_prefix(0) + "resid_post",
            add_vector(std::vector<float>(8, 1.0f), {3, Positions::kForever}));
  const Tensor edited = model->forward(ids);
  EXPECT_EQ(slice(edited, 1, 0, 3).to_vector(), slice(plain, 1, 0, 3).to_vector());  // causal: the same bits
  EXPECT_NE(slice(edited, 1, 3, 1).to_vector(), slice(plain, 1, 3, 1).to_vector());
}

INSTANTIATE_TEST_SUITE_P(Models, EditsTest, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk
