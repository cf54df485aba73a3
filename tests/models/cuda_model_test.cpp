// Whole models with device cuda, on cusim: a short training run beside the cpu's, generation with the KV cache, state on disk.
// Device memory is out of the host's reach here (CUSIM_STRICT=1), so code that would only work on cusim ends with a fault.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "kernels/memory.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "models/sample.h"
#include "models/train.h"

namespace chalk {
namespace {

const bool strict = setenv("CUSIM_STRICT", "1", 1) == 0;  // before cusim reads it

constexpr int64_t V = 40, T = 20, B = 2;

std::unique_ptr<LanguageModel> make_llama(Device device) {
  LlamaConfig config;
  config.vocab_size = V, config.hidden_size = 32, config.intermediate_size = 48, config.num_hidden_layers = 2;
  config.num_attention_heads = 4, config.num_key_value_heads = 2, config.max_position_embeddings = 64;
  return std::make_unique<Llama>(config, device);
}
std::unique_ptr<LanguageModel> make_gpt2(Device device) {
  GPT2Config config;
  config.vocab_size = V, config.n_positions = 64, config.n_embd = 32, config.n_layer = 2, config.n_head = 2;
  config.dropout = 0.1;
  return std::make_unique<GPT2>(config, device);
}
using Maker = std::unique_ptr<LanguageModel> (*)(Device);

// The same numbers whatever the device.
void initialise(LanguageModel& model) {
  uint64_t seed = 0;
  for (const NamedTensor& p : model.parameters()) {
    std::vector<float> values(size_t(p.tensor.numel()), p.name.ends_with(".bias") ? 0.0f : 1.0f);
    seed += 1;
    if (p.tensor.rank() >= 2) {
      for (size_t i = 0; i < values.size(); ++i) values[i] = 0.1f * random_normal(seed, i);
    }
    p.tensor.copy_from(Tensor::from(p.tensor.shape, values, p.tensor.device()));
  }
}

// A sequence that can be learned: the next id is a function of this one.
Batch make_batch(int64_t index) {
  Batch b;
  b.B = B, b.T = T;
  for (int64_t i = 0; i < B * T; ++i) {
    const int32_t id = int32_t((index * 5 + i * 7 + i / T) % V);
    b.ids.push_back(id);
    b.targets.push_back((id + 7) % int32_t(V));
    b.weights.push_back(1.0f);
  }
  return b;
}

struct Result {
  std::vector<double> losses;
  std::vector<float> logits;
  int64_t requests_when_warm = 0;
};

Result train(Maker make, Device device, int64_t steps) {
  Result run;
  auto model = make(device);
  initialise(*model);
  TrainOptions options;
  options.lr = 1e-2, options.warmup = 1, options.steps = steps;
  Trainer trainer(*model, options);
  int64_t before = 0;
  for (int64_t step = 0; step < steps; ++step) {
    if (step == 2) before = memory_counters().system_requests;
    run.losses.push_back(trainer.train_step(make_batch).loss);
  }
  run.requests_when_warm = memory_counters().system_requests - before;
  NoGrad no_grad;
  const Batch b = make_batch(0);
  run.logits = model->forward({{B, T}, b.ids}).to_vector();
  return run;
}

void expect_same_curve(Maker make) {
  ASSERT_TRUE(strict);
  constexpr int64_t steps = 6;
  const Result cpu = train(make, Device::CPU, steps), cuda = train(make, Device::CUDA, steps);
  // The first loss is one forward pass: a mean over 40 rows of numbers near ln 40, each a few dozen roundings off. From then
  // on AdamW's early steps are lr · sign(g): a gradient near 0 may flip and moves its weight by 2 · lr. Few do, and
  // they matter little because their gradient is near 0; a wrong kernel moves the curve by tenths.
  EXPECT_NEAR(cuda.losses[0], cpu.losses[0], 1e-5);
  for (int64_t step = 1; step < steps; ++step) {
    EXPECT_NEAR(cuda.losses[size_t(step)], cpu.losses[size_t(step)], 2e-3) << "step " << step;
  }
  // The curve moves by more than ten tolerances: it does not agree because nothing happened.
  EXPECT_GT(std::abs(cuda.losses.back() - cuda.losses.front()), 2e-2);
  EXPECT_EQ(cuda.requests_when_warm, 0) << "memory was asked of the system after the first steps";
}

TEST(CudaModel, LlamaTrainsAsOnTheCpu) {
  expect_same_curve(make_llama);
}

// With dropout: the masks are the same on every backend.
TEST(CudaModel, Gpt2TrainsAsOnTheCpu) {
  expect_same_curve(make_gpt2);
}

TEST(CudaModel, TrainingTwiceGivesTheSameBits) {
  const Result a = train(make_llama, Device::CUDA, 2), b = train(make_llama, Device::CUDA, 2);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.logits, b.logits);
}

TEST(CudaModel, GenerationWithTheCacheFollowsTheCpu) {
  for (Maker make : {make_llama, make_gpt2}) {
    auto cpu = make(Device::CPU), cuda = make(Device::CUDA);
    initialise(*cpu);
    initialise(*cuda);
    SampleOptions options;
    options.max_new_tokens = 8, options.temperature = 0;
    const std::vector<int32_t> prompt = {3, 1, 4, 1, 5};
    EXPECT_EQ(generate(*cuda, prompt, options), generate(*cpu, prompt, options));
  }
}

}  // namespace
}  // namespace chalk
