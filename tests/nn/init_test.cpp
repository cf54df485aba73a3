// Initial weights: their statistics, and that each depends on the seed and its own name only.
#include "nn/init.h"

#include <gtest/gtest.h>

#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

struct Moments {
  double mean = 0, std = 0, largest = 0;
};

Moments moments(const Tensor& t) {
  Moments m;
  for (float x : t.to_vector()) {
    m.mean += x / double(t.numel());
    m.largest = std::max(m.largest, double(std::abs(x)));
  }
  for (float x : t.to_vector()) m.std += (x - m.mean) * (x - m.mean) / double(t.numel());
  m.std = std::sqrt(m.std);
  return m;
}

// Five standard errors of a mean (std/√n) and of a standard deviation (std/√2n) over n = 40,000 numbers.
void expect_moments(const Tensor& t, double std) {
  const double n = double(t.numel());
  EXPECT_NEAR(moments(t).mean, 0, 5 * std / std::sqrt(n));
  EXPECT_NEAR(moments(t).std, std, 5 * std / std::sqrt(2 * n));
}

TEST(Init, Statistics) {
  const Tensor t({100, 400});  // (out, in)
  init_normal(t, 0.02f, 1, "a");
  expect_moments(t, 0.02);
  init_uniform(t, 3, 1, "a");
  expect_moments(t, 3 / std::sqrt(3.0));
  EXPECT_LE(moments(t).largest, 3);
  init_xavier(t, 1, "a");
  expect_moments(t, std::sqrt(2.0 / 500));
  init_kaiming(t, 1, "a");
  expect_moments(t, std::sqrt(2.0 / 400));
}

TEST(Init, DependsOnSeedAndNameAlone) {
  auto numbers = [](uint64_t seed, const std::string& name, Device device = Device::CPU) {
    const Tensor t({5, 5}, device);
    init_normal(t, 1, seed, name);
    return t.to_vector();
  };
  EXPECT_EQ(numbers(1, "h.0.a"), numbers(1, "h.0.a"));
  EXPECT_EQ(numbers(1, "h.0.a"), numbers(1, "h.0.a", Device::Plain));
  EXPECT_NE(numbers(1, "h.0.a"), numbers(2, "h.0.a"));
  EXPECT_NE(numbers(1, "h.0.a"), numbers(1, "h.1.a"));
}

TEST(Init, AnotherLayerDoesNotChangeTheFirst) {
  GPT2Config small = small_gpt2_config(), deep = small_gpt2_config();
  deep.n_layer = 4;
  GPT2 a(small, Device::CPU), b(deep, Device::CPU);
  a.init(7);
  b.init(7);
  std::map<std::string, Tensor> of_b;
  for (const NamedTensor& p : b.parameters()) of_b[p.name] = p.tensor;
  for (const NamedTensor& p : a.parameters()) {
    if (p.name.ends_with("c_proj.weight")) continue;  // scaled by the depth
    EXPECT_EQ(p.tensor.to_vector(), of_b.at(p.name).to_vector()) << p.name;
  }
}

TEST(Init, GPT2ScalesWhatWritesToTheResidualStream) {
  GPT2 model({.vocab_size = 500, .n_positions = 64, .n_embd = 100, .n_layer = 2, .n_head = 2}, Device::CPU);
  model.init(1);
  for (const NamedTensor& p : model.parameters()) {
    if (p.name.ends_with("c_proj.weight")) {
      expect_moments(p.tensor, 0.02 / 2);  // 1/√(2 · 2 layers)
    } else if (p.tensor.rank() == 2) {
      expect_moments(p.tensor, 0.02);
    } else {
      const float expected = p.name.ends_with("weight") ? 1 : 0;  // gains and biases
      for (float x : p.tensor.to_vector()) EXPECT_EQ(x, expected) << p.name;
    }
  }
}

TEST(Init, LlamaHasItsOwnSizeForTheTables) {
  LlamaConfig config = small_llama_config();
  config.hidden_size = 100, config.vocab_size = 500, config.intermediate_size = 200;
  Llama model(config, Device::CPU);
  model.init(1, {.matrices = 0.04f, .embedding = 0.01f});
  for (const NamedTensor& p : model.parameters()) {
    if (p.tensor.rank() != 2) continue;
    const bool table = p.name == "embed_tokens.weight" || p.name == "lm_head.weight";
    const bool residual = p.name.ends_with("o_proj.weight") || p.name.ends_with("down_proj.weight");
    expect_moments(p.tensor, table ? 0.01 : residual ? 0.04 / 2 : 0.04);
  }
}

}  // namespace
}  // namespace chalk
