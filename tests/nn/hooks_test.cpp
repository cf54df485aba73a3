// Every named activation of both models is recorded and edited, in training, evaluation and cached generation.
#include "nn/hooks.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

constexpr int64_t kBatch = 2, kTime = 6;

// The closed list of nn/hooks.h with the last axis each activation has in the small models.
std::map<std::string, int64_t> all_activations(const LanguageModel& model) {
  const bool gpt2 = std::string(model.architecture()) == "gpt2";
  const int64_t C = 8, query = gpt2 ? 8 : 16, key = 8, hidden = gpt2 ? 32 : 20;
  std::map<std::string, int64_t> widths;
  for (int64_t i = 0; i < 2; ++i) {
    const std::string block = model.block_prefix(i);
    for (const char* name : {"resid_pre", "attn.out", "resid_mid", "mlp.out", "resid_post"})
      widths[block + name] = C;
    widths[block + "attn.q"] = widths[block + "attn.heads"] = query;
    widths[block + "attn.k"] = widths[block + "attn.v"] = key;
    widths[block + "mlp.hidden"] = hidden;
    widths[block + (gpt2 ? "ln_1" : "input_layernorm")] = C;
    widths[block + (gpt2 ? "ln_2" : "post_attention_layernorm")] = C;
  }
  widths[gpt2 ? "ln_f" : "norm"] = C;
  return widths;
}

class HooksTest : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    model = GetParam().make();
    for (const auto& [name, width] : all_activations(*model)) names.push_back(name);
  }
  std::vector<float> evaluate() {
    NoGrad no_grad;
    return model->forward(ids).to_vector();
  }
  // The last token's logits when it comes alone, after the others went into the cache.
  std::vector<float> generate_one() {
    NoGrad no_grad;
    KVCache cache = model->make_cache();
    const int64_t T = kTime - 1;
    IntTensor first{{1, T}, {ids.values.begin(), ids.values.begin() + T}};
    model->forward(first, &cache);
    return model->forward({{1, 1}, {ids.values[size_t(T)]}}, &cache).to_vector();
  }
  // The gradient of the embedding after one training pass.
  std::vector<float> train() {
    model->zero_grad();
    model->training = true;
    cross_entropy(model->forward(ids), ids.values).backward();
    model->training = false;
    return model->parameters()[0].tensor.grad().to_vector();
  }

  std::unique_ptr<LanguageModel> model;
  std::vector<std::string> names;
  const IntTensor ids = some_ids(kBatch, kTime);
};

TEST_P(HooksTest, EveryActivationIsRecordedWithItsShape) {
  const std::vector<float> without = evaluate();
  Recorder recorder(model->hooks, names);
  EXPECT_EQ(evaluate(), without);  // looking changes nothing
  ASSERT_EQ(recorder.last.size(), names.size());
  for (const auto& [name, width] : all_activations(*model)) {
    EXPECT_EQ(recorder.last.at(name).shape, (Shape{kBatch, kTime, width})) << name;
    EXPECT_FALSE(recorder.last.at(name).requires_grad());
  }
}

TEST_P(HooksTest, RecordedActivationsFitTogether) {
  Recorder recorder(model->hooks, names);
  evaluate();
  const auto at = [&](int64_t i, const char* name) {
    return recorder.last.at(model->block_prefix(i) + name);
  };
  NoGrad no_grad;
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(at(i, "resid_mid").to_vector(), add(at(i, "resid_pre"), at(i, "attn.out")).to_vector());
    EXPECT_EQ(at(i, "resid_post").to_vector(), add(at(i, "resid_mid"), at(i, "mlp.out")).to_vector());
  }
  EXPECT_EQ(at(1, "resid_pre").to_vector(), at(0, "resid_post").to_vector());
  EXPECT_EQ(at(0, "resid_pre").to_vector(), model->embed(ids, 0).to_vector());
}

TEST_P(HooksTest, EditingAnyActivationReachesTheResultInEveryMode) {
  const std::vector<float> evaluated = evaluate(), generated = generate_one(), trained = train();
  for (const std::string& name : names) {
    const int ticket = model->hooks.add(name, [](const Tensor& x) {
      Tensor nudge = Tensor(x.shape, x.device());
      for (int64_t i = 0; i < nudge.numel(); ++i) nudge.data()[i] = 0.1f * float(i % 3);
      return add(x, nudge);
    });
    EXPECT_NE(evaluate(), evaluated) << name;
    EXPECT_NE(generate_one(), generated) << name;
    EXPECT_NE(train(), trained) << name;
    model->hooks.remove(ticket);
  }
  EXPECT_EQ(evaluate(), evaluated);
  EXPECT_EQ(generate_one(), generated);
  EXPECT_EQ(train(), trained);
}

TEST_P(HooksTest, AnEditTakesPartInBackward) {
  Tensor vector = Tensor({8}, GetParam().device);
  vector.set_requires_grad();
  model->set_requires_grad(false);  // steering: only the vector learns
  model->hooks.add(model->block_prefix(0) + "resid_post", [&](const Tensor& x) { return add(x, vector); });
  cross_entropy(model->forward(ids), ids.values).backward();
  double size = 0;
  for (float g : vector.grad().to_vector()) size += std::abs(g);
  EXPECT_GT(size, 1e-3);
}

TEST_P(HooksTest, EditsRunInTheOrderTheyWereAdded) {
  const std::string name = model->block_prefix(1) + "mlp.out";
  std::string order;
  const int first = model->hooks.add(name, [&](const Tensor& x) {
    order += "a";
    return x;
  });
  model->hooks.add(name, [&](const Tensor& x) {
    order += "b";
    return x;
  });
  evaluate();
  model->hooks.remove(first);
  evaluate();
  model->hooks.clear();
  evaluate();
  EXPECT_EQ(order, "abb");
}

TEST_P(HooksTest, CachedGenerationPassesTheNewTokenOnly) {
  Recorder recorder(model->hooks, names);
  generate_one();
  for (const auto& [name, width] : all_activations(*model))
    EXPECT_EQ(recorder.last.at(name).shape, (Shape{1, 1, width})) << name;
}

TEST_P(HooksTest, CheckpointedTrainingRunsHooksAgain) {
  int calls = 0;
  model->hooks.add(model->block_prefix(0) + "resid_mid", [&](const Tensor& x) {
    ++calls;
    return scale(x, 2);
  });
  const std::vector<float> plain = train();
  EXPECT_EQ(calls, 1);
  model->checkpoint_blocks = true;
  EXPECT_EQ(train(), plain);
  EXPECT_EQ(calls, 3);
}

TEST_P(HooksTest, ARecorderForgetsItsHooks) {
  { Recorder recorder(model->hooks, names); }
  bool called = false;
  const int ticket = model->hooks.add(names[0], [&](const Tensor& x) {
    called = true;
    return x;
  });
  evaluate();
  EXPECT_TRUE(called);
  model->hooks.remove(ticket);
}

TEST_P(HooksTest, AReplacementOfAnotherShapeIsRefused) {
  const std::string name = model->block_prefix(1) + "attn.heads";
  const int ticket = model->hooks.add(name, [](const Tensor& x) { return slice(x, 1, 0, 1); });
  const std::string text = error_text([&] { evaluate(); });
  EXPECT_MENTIONS(text, "hook " + name);
  EXPECT_MENTIONS(text, "(2, 1, ");
  EXPECT_MENTIONS(text, "(2, 6, ");
  model->hooks.remove(ticket);
  model->hooks.add(name, [](const Tensor&) { return Tensor(); });
  EXPECT_MENTIONS(error_text([&] { evaluate(); }), "hook " + name);
}

TEST_P(HooksTest, TheListOfNamesIsTheModels) {
  std::vector<std::string> declared = model->hooks.names, expected = names;
  std::sort(declared.begin(), declared.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(declared, expected);
  const std::string wrong = model->block_prefix(0) + "resid_past";
  EXPECT_MENTIONS(error_text([&] { model->hooks.add(wrong, [](const Tensor& x) { return x; }); }), wrong);
}

INSTANTIATE_TEST_SUITE_P(Models, HooksTest, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk
