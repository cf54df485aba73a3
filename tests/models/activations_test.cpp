// Activations of texts of several lengths, logits at their ends, and the cost of an edit.
#include "models/activations.h"

#include <gtest/gtest.h>

#include "nn/interventions.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

const std::vector<Ids> kTexts = {{1, 2, 3}, {4, 5}, {6, 7, 8}, {9}, {10, 11, 12}};

TEST(Activations, GroupsHoldEveryTextOnce) {
  std::vector<int> seen(kTexts.size(), 0);
  for (const TextGroup& group : group_by_length(kTexts, 2)) {
    EXPECT_LE(group.texts.size(), 2u);
    for (size_t b = 0; b < group.texts.size(); ++b) {
      const Ids& text = kTexts[size_t(group.texts[b])];
      ++seen[size_t(group.texts[b])];
      ASSERT_EQ(group.ids.shape[1], int64_t(text.size()));
      EXPECT_TRUE(std::equal(text.begin(), text.end(), group.ids.values.begin() + int64_t(b * text.size())));
    }
  }
  EXPECT_EQ(seen, std::vector<int>(kTexts.size(), 1));
  EXPECT_MENTIONS(error_text([] { group_by_length({{}}); }), "empty");
}

class ActivationsTest : public testing::TestWithParam<ModelCase> {};

// Row i is what the model computes for text i alone, at its last token.
TEST_P(ActivationsTest, RowsBelongToTheirTexts) {
  const auto model = GetParam().make();
  const std::vector<Samples> residuals = residuals_at(*model, kTexts);
  const Samples logits = next_logits(*model, kTexts);
  ASSERT_EQ(residuals.size(), 3u);
  for (size_t i = 0; i < kTexts.size(); ++i) {
    NoGrad no_grad;
    const int64_t T = int64_t(kTexts[i].size());
    Recorder recorder(model->hooks, {residual_name(*model, 0), residual_name(*model, 2)});
    const Tensor alone = slice(model->forward({{1, T}, kTexts[i]}), 1, T - 1, 1);
    // batching changes the order of no sum within a row, but the cpu kernel may tile other rows together: ε · √K · size
    const auto row = [&](const Samples& s) {
      return std::vector<float>(s.row(int64_t(i)), s.row(int64_t(i)) + s.d);
    };
    EXPECT_TRUE(all_near(row(logits), alone.to_vector(), 1e-4));
    EXPECT_TRUE(all_near(row(residuals[0]),
                         slice(recorder.last.at(residual_name(*model, 0)), 1, T - 1, 1).to_vector(), 1e-5));
    EXPECT_TRUE(all_near(row(residuals[2]),
                         slice(recorder.last.at(residual_name(*model, 2)), 1, T - 1, 1).to_vector(), 1e-4));
  }
  EXPECT_MENTIONS(error_text([&] { residuals_at(*model, kTexts, 2); }), "token");
}

TEST_P(ActivationsTest, AnUneditedModelCostsNothing) {
  const auto model = GetParam().make();
  const CostMeter meter(*model, kTexts);
  EXPECT_EQ(meter.tokens, 2 + 1 + 2 + 0 + 2);
  const CostMeter::Cost none = meter.measure();
  EXPECT_EQ(none.kl, 0);
  EXPECT_EQ(none.loss, meter.plain_loss);
  // the loss by its definition
  NoGrad no_grad;
  double sum = 0;
  for (const Ids& text : kTexts) {
    if (text.size() < 2) continue;
    const Tensor logits = model->forward({{1, int64_t(text.size())}, text});
    for (size_t t = 0; t + 1 < text.size(); ++t) {
      const std::vector<double> p = next_probabilities(logits.data() + int64_t(t) * 29, 29);
      sum -= std::log(p[size_t(text[t + 1])]);
    }
  }
  EXPECT_NEAR(meter.plain_loss, sum / 7, 1e-5);
  Edits edits(model->hooks);
  edits.add(residual_name(*model, 1), add_vector(std::vector<float>{3, -3, 3, -3, 3, -3, 3, -3}));
  EXPECT_GT(meter.measure().kl, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, ActivationsTest, testing::ValuesIn(kModelCases), model_test_name);

TEST(Activations, ProbabilitiesSumToOne) {
  const float logits[] = {1000, 1000, -1000};
  EXPECT_EQ(next_probabilities(logits, 3), (std::vector<double>{0.5, 0.5, 0}));
}

}  // namespace
}  // namespace chalk
