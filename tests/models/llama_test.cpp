// LLaMA: sizes, the two rotary pairings, what rotation preserves, Qwen2's biases.
#include "models/llama.h"

#include <gtest/gtest.h>

#include "models/io/weights.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

TEST(LlamaSizes, AsReleased) {
  EXPECT_EQ(parameter_count(llama_preset("llama-7b")), 6738415616);
  EXPECT_EQ(parameter_count(llama_preset("llama-2-70b")), 68976648192);
  EXPECT_EQ(parameter_count(llama_preset("llama-3.1-8b")), 8030261248);
  EXPECT_EQ(parameter_count(llama_preset("mistral-7b")), 7241732096);
}

class LlamaTest : public testing::TestWithParam<Device> {
 protected:
  NoGrad no_grad;
};

TEST_P(LlamaTest, BeforeTrainingTheLossIsThatOfAGuess) {
  LlamaConfig config = small_llama_config();
  config.hidden_size = 32, config.vocab_size = 97;
  Llama model(config, GetParam());
  model.init(1337);
  EXPECT_NEAR(cross_entropy(model.forward(some_ids(4, 12)), some_ids(4, 12, 8).values).item(), std::log(97.0),
              0.1);
}

// Meta stores the rows of q and k so that pairs are neighbours, Hugging Face so that they are D/2 apart: the permuted
// weights with the other pairing are the same model.
TEST_P(LlamaTest, InterleavedPairsWithPermutedWeightsAreTheSameModel) {
  LlamaConfig config = small_llama_config();
  const auto half_split = small_llama(GetParam(), config);
  config.rope_interleaved = true;
  const auto interleaved = small_llama(GetParam(), config);
  const IntTensor ids = some_ids(2, 10);
  const Tensor expected = half_split->forward(ids);
  EXPECT_FALSE(all_near(interleaved->forward(ids), expected, 1e-2));  // unpermuted, they are different models

  for (const NamedTensor& p : interleaved->parameters()) {
    const bool q = p.name.ends_with("q_proj.weight"), k = p.name.ends_with("k_proj.weight");
    if (!q && !k) continue;
    const int64_t heads = q ? config.num_attention_heads : config.num_key_value_heads;
    const std::vector<float> rows =
        half_split_to_interleaved(p.tensor.to_vector(), heads, config.head_size(), config.hidden_size);
    p.tensor.copy_from(Tensor::from(p.tensor.shape, rows, GetParam()));
  }
  EXPECT_TRUE(all_near(interleaved->forward(ids), expected, 1e-5));
}

// (R_m q)·(R_n k) depends on m − n only, and rotation keeps lengths.
TEST_P(LlamaTest, RotationIsRelativeAndKeepsLengths) {
  const int64_t D = 16;
  const Tensor q = random_tensor({1, 1, D}, 1, GetParam()), k = random_tensor({1, 1, D}, 2, GetParam());
  for (bool interleaved : {false, true}) {
    auto turned = [&](const Tensor& x, int32_t position) {
      return rope(x, make_rope_table({position}, D, 1e4, {}, interleaved, GetParam()), 1);
    };
    auto dot = [](const Tensor& a, const Tensor& b) { return sum(mul(a, b)).item(); };
    for (int32_t m : {0, 3, 50}) {
      const float here = dot(turned(q, m + 2), turned(k, m));
      EXPECT_NEAR(here, dot(turned(q, m + 9), turned(k, m + 7)), 1e-5);
      EXPECT_NEAR(dot(turned(q, m), turned(q, m)), dot(q, q), 1e-5);
      EXPECT_GT(std::abs(here - dot(turned(q, m + 3), turned(k, m))), 1e-3);
    }
    EXPECT_EQ(turned(q, 0).to_vector(), q.to_vector());
  }
}

TEST_P(LlamaTest, LinearScalingStretchesPositions) {
  LlamaConfig config = small_llama_config();
  config.rope_scaling.type = "linear", config.rope_scaling.factor = 2;
  Llama stretched(config, GetParam()), plain(small_llama_config(), GetParam());
  const RopeTable a = *stretched.rope_table(0, 8), b = *plain.rope_table(0, 8);
  for (int64_t t = 0; t < 4; ++t) {
    EXPECT_EQ(slice(a.cos, 0, 2 * t, 1).to_vector(), slice(b.cos, 0, t, 1).to_vector());
    EXPECT_EQ(slice(a.sin, 0, 2 * t, 1).to_vector(), slice(b.sin, 0, t, 1).to_vector());
  }
  // Asked for other positions, the model's table follows.
  EXPECT_EQ(plain.rope_table(3, 2)->cos.to_vector(), slice(b.cos, 0, 3, 2).to_vector());
  EXPECT_EQ(plain.rope_table(0, 8)->cos.to_vector(), b.cos.to_vector());
}

TEST_P(LlamaTest, RMSNormIgnoresTheScaleOfItsInput) {
  const Tensor x = random_tensor({3, 64}, 1, GetParam()), ones = Tensor::full({64}, 1, GetParam());
  const Tensor y = rmsnorm(x, ones, 1e-12f);
  EXPECT_TRUE(all_near(rmsnorm(scale(x, 1000), ones, 1e-12f), y, 1e-5));
  for (int64_t n = 0; n < 3; ++n) {
    double squares = 0;
    for (int64_t c = 0; c < 64; ++c) squares += std::pow(double(y.data()[n * 64 + c]), 2);
    EXPECT_NEAR(std::sqrt(squares / 64), 1, 1e-5);
  }
}

TEST_P(LlamaTest, Qwen2AddsBiasesToQueriesKeysAndValues) {
  LlamaConfig config = small_llama_config();
  config.model_type = "qwen2", config.attention_bias = true;
  const auto qwen = small_llama(GetParam(), config);
  const auto llama = small_llama(GetParam());  // the same numbers under the same names
  const IntTensor ids = some_ids(1, 6);
  const Tensor without = llama->forward(ids);
  EXPECT_FALSE(all_near(qwen->forward(ids), without, 1e-3));
  int64_t biases = 0;
  for (const NamedTensor& p : qwen->parameters()) {
    if (!p.name.ends_with("bias")) continue;
    p.tensor.fill(0);
    ++biases;
  }
  EXPECT_EQ(biases, 2 * 3);
  EXPECT_EQ(qwen->forward(ids).to_vector(), without.to_vector());
}

INSTANTIATE_TEST_SUITE_P(Devices, LlamaTest, testing::Values(Device::Plain, Device::CPU), device_test_name);

}  // namespace
}  // namespace chalk
