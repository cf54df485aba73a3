// What both models promise: pieces equal the whole, causality, checkpoints, dropout, learning, and errors.
#include "models/language_model.h"

#include <gtest/gtest.h>

#include "autograd/check.h"
#include "autograd/random.h"
#include "kernels/memory.h"
#include "nn/adamw.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

class Model : public testing::TestWithParam<ModelCase> {
 protected:
  Model() : model(GetParam().make()) {}
  void set_dropout(double p) {
    if (auto* gpt2 = dynamic_cast<GPT2*>(model.get())) gpt2->config.dropout = p;
    if (auto* llama = dynamic_cast<Llama*>(model.get())) llama->config.dropout = p;
  }
  std::vector<std::vector<float>> gradients(const IntTensor& ids) {
    model->zero_grad();
    dropout_seeds() = {.seed = 3, .calls = 0};
    cross_entropy(model->forward(ids), ids.values).backward();
    std::vector<std::vector<float>> all;
    for (const NamedTensor& p : model->parameters()) all.push_back(p.tensor.grad().to_vector());
    return all;
  }
  std::unique_ptr<LanguageModel> model;
  const IntTensor ids = some_ids(2, 9);
};

TEST_P(Model, PiecesEqualTheWhole) {
  const NoGrad no_grad;
  Tensor x = model->embed(ids, 0);
  EXPECT_EQ(x.shape, (Shape{2, 9, model->width()}));
  for (int64_t i = 0; i < 2; ++i) x = model->block(i).forward(x);
  EXPECT_EQ(x.to_vector(), model->forward_blocks(ids).to_vector());
  const Tensor logits = model->head(x);
  EXPECT_EQ(logits.shape, (Shape{2, 9, model->vocab_size()}));
  EXPECT_EQ(logits.to_vector(), model->forward(ids).to_vector());
  EXPECT_MENTIONS(error_text([&] { model->block(2); }), "the model has 2 blocks");
}

TEST_P(Model, ATokenLeavesEarlierPositionsBitIdentical) {
  const NoGrad no_grad;
  const Tensor before = model->forward(ids);
  for (int64_t j : {1, 5, 8}) {
    IntTensor changed = ids;
    int32_t& id = changed.values[size_t(j)];
    id = (id + 1) % 29;
    const Tensor after = model->forward(changed);
    const Tensor earlier_before = slice(slice(before, 0, 0, 1), 1, 0, j);
    const Tensor earlier_after = slice(slice(after, 0, 0, 1), 1, 0, j);
    EXPECT_EQ(earlier_after.to_vector(), earlier_before.to_vector());
    EXPECT_NE(slice(slice(after, 0, 0, 1), 1, j, 1).to_vector(),
              slice(slice(before, 0, 0, 1), 1, j, 1).to_vector());
    // the other sequence of the batch does not notice
    EXPECT_EQ(slice(after, 0, 1, 1).to_vector(), slice(before, 0, 1, 1).to_vector());
  }
}

TEST_P(Model, CheckpointedBlocksGiveTheSameBitsAlsoWithDropout) {
  set_dropout(0.2);
  model->training = true;
  const auto without = gradients(ids);
  model->checkpoint_blocks = true;
  EXPECT_EQ(gradients(ids), without);
}

TEST_P(Model, DropoutActsInTrainingOnlyAndRepeats) {
  const NoGrad no_grad;
  const std::vector<float> plain = model->forward(ids).to_vector();
  set_dropout(0.3);
  EXPECT_EQ(model->forward(ids).to_vector(), plain);
  model->training = true;
  auto run = [&](uint64_t seed) {
    dropout_seeds() = {.seed = seed, .calls = 0};
    return model->forward(ids).to_vector();
  };
  EXPECT_NE(run(1), plain);
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST_P(Model, GradientOfTheLogitsSumsToZeroAtEachPosition) {
  const Tensor logits = model->forward(ids);
  logits.retain_grad();
  cross_entropy(logits, ids.values).backward();
  const std::vector<float> g = logits.grad().to_vector();
  for (size_t n = 0; n < g.size() / 29; ++n) {
    double total = 0;
    for (size_t v = 0; v < 29; ++v) total += g[n * 29 + v];
    EXPECT_NEAR(total, 0, 29 * 6e-8 / 18);  // 29 roundings of numbers up to 1/rows
  }
}

TEST_P(Model, LearnsATextByHeart) {
  AdamW optimizer(model->parameters(), {.lr = 0.01f, .weight_decay = 0});
  const IntTensor inputs{{1, 11}, {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5}};
  const std::vector<int32_t> targets = {1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};
  float first = 0, last = 0;
  for (int step = 0; step < 120; ++step) {
    const Tensor loss = cross_entropy(model->forward(inputs), targets);
    last = loss.item();
    if (step == 0) first = last;
    loss.backward();
    optimizer.step(1, clip_coefficient(gradient_norm(optimizer.parameters), 1));
    optimizer.zero_grad();
  }
  EXPECT_GT(first, 1);
  EXPECT_LT(last, 0.05);
}

TEST_P(Model, Errors) {
  const std::string text = error_text([&] { model->forward(some_ids(1, 13)); });
  EXPECT_MENTIONS(text, "13 tokens do not fit the model's context of 12");
  EXPECT_THROW(model->forward(some_ids(1, 13)), UsageError);
  EXPECT_MENTIONS(error_text([&] { model->forward({{1, 1}, {29}}); }), "id 29 at place 0 is outside [0, 29)");
  EXPECT_MENTIONS(error_text([&] { model->forward({{3}, {1, 2, 3}}); }), "expected (B, T)");
  EXPECT_MENTIONS(error_text([&] { model->forward({{1, 0}, {}}); }), "expected (B, T)");
  EXPECT_MENTIONS(error_text([&] { model->embed({{3}, {1, 2, 3}}, 0); }), "expected (B, T)");
  EXPECT_MENTIONS(error_text([&] { model->forward({{2, 2}, {1, 2, 3}}); }), "holds 3 numbers");
}

TEST_P(Model, NothingStaysAliveAfterIt) {
  const int64_t live = memory_counters().live_bytes;
  {
    const auto second = GetParam().make();
    cross_entropy(second->forward(ids), ids.values).backward();
    KVCache cache = second->make_cache();
    const NoGrad no_grad;
    second->forward(ids, &cache);
  }
  EXPECT_EQ(memory_counters().live_bytes, live);
}

INSTANTIATE_TEST_SUITE_P(Models, Model, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk
