// GPT-2: the sizes of the released models, the loss before training, and what its configuration refuses.
#include "models/gpt2.h"

#include <gtest/gtest.h>

#include "kernels/memory.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

TEST(GPT2Sizes, AsReleased) {
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2")), 124439808);
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2-medium")), 354823168);
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2-large")), 774030080);
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2-xl")), 1557611200);
}

TEST(GPT2Sizes, ClosedForm) {
  const GPT2Config c = small_gpt2_config();
  const int64_t V = c.vocab_size, P = c.n_positions, L = c.n_layer, C = c.n_embd;
  EXPECT_EQ(GPT2(c, Device::Plain).parameter_count(), V * C + P * C + L * (12 * C * C + 13 * C) + 2 * C);
}

class GPT2Test : public testing::TestWithParam<Device> {};

TEST_P(GPT2Test, BeforeTrainingTheLossIsThatOfAGuess) {
  GPT2 model({.vocab_size = 97, .n_positions = 16, .n_embd = 32, .n_layer = 2, .n_head = 4}, GetParam());
  model.init(1337);
  IntTensor ids = some_ids(4, 16);
  const NoGrad no_grad;
  EXPECT_NEAR(cross_entropy(model.forward(ids), some_ids(4, 16, 8).values).item(), std::log(97.0), 0.1);
}

TEST_P(GPT2Test, PositionsMatter) {
  const auto model = small_gpt2(GetParam());
  const NoGrad no_grad;
  const IntTensor same{{1, 2}, {3, 3}};
  const Tensor x = model->embed(same, 0);
  EXPECT_NE(slice(x, 1, 0, 1).to_vector(), slice(x, 1, 1, 1).to_vector());
  EXPECT_EQ(slice(model->embed(same, 0), 1, 1, 1).to_vector(),
            slice(model->embed(same, 1), 1, 0, 1).to_vector());
}

TEST_P(GPT2Test, ActivationsByName) {
  std::map<std::string, std::vector<float>> logits;
  const NoGrad no_grad;
  for (const char* name : {"gelu_new", "gelu", "relu"}) {
    GPT2Config config = small_gpt2_config();
    config.activation = name;
    logits[name] = small_gpt2(GetParam(), config)->forward(some_ids(1, 5)).to_vector();
  }
  EXPECT_FALSE(all_near(logits["gelu_new"], logits["relu"], 1e-2));
  EXPECT_FALSE(
      all_near(logits["gelu_new"], logits["gelu"], 1e-6));  // tanh form and erf form differ, a little
  EXPECT_TRUE(all_near(logits["gelu_new"], logits["gelu"], 5e-2));
}

// A larger table whose extra rows are never used leaves the first V logits as they were.
TEST_P(GPT2Test, PaddedVocabulary) {
  GPT2Config config = small_gpt2_config();
  const auto model = small_gpt2(GetParam(), config);
  config.vocab_size = 32;
  const auto padded = small_gpt2(GetParam(), config);
  std::map<std::string, Tensor> from;
  for (const NamedTensor& p : model->parameters()) from[p.name] = p.tensor;
  for (const NamedTensor& p : padded->parameters()) {
    const Tensor source = from.at(p.name);
    std::copy_n(source.data(), source.numel(), p.tensor.data());
  }
  const NoGrad no_grad;
  const IntTensor ids = some_ids(2, 5);
  EXPECT_TRUE(all_near(slice(padded->forward(ids), -1, 0, 29), model->forward(ids), 2e-6));
}

INSTANTIATE_TEST_SUITE_P(Devices, GPT2Test, testing::Values(Device::Plain, Device::CPU), device_test_name);

TEST(GPT2Config, IsCheckedBeforeAnythingIsAllocated) {
  const int64_t requests = memory_counters().system_requests;
  auto refused = [](auto change) {
    GPT2Config config = small_gpt2_config();
    change(config);
    return error_text([&] { GPT2 model(config, Device::CPU); });
  };
  EXPECT_MENTIONS(refused([](GPT2Config& c) { c.n_embd = -8; }), "n_embd is -8");
  EXPECT_MENTIONS(refused([](GPT2Config& c) { c.vocab_size = int64_t(1) << 40; }), "vocab_size");
  EXPECT_MENTIONS(refused([](GPT2Config& c) { c.n_head = 3; }), "n_head 3 does not divide n_embd 8");
  EXPECT_MENTIONS(refused([](GPT2Config& c) { c.n_layer = 0; }), "n_layer is 0");
  EXPECT_MENTIONS(refused([](GPT2Config& c) { c.activation = "tanh"; }), "activation is \"tanh\"");
  EXPECT_EQ(memory_counters().system_requests, requests);
}

}  // namespace
}  // namespace chalk
