// A checkpointed block gives the same gradients, bit for bit, and holds less memory between forward and backward.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "autograd/random.h"
#include "kernels/memory.h"
#include "tests/autograd/random_tensor.h"
#include "tests/expect.h"

namespace chalk {
namespace {

constexpr int64_t kRows = 64, kWidth = 32, kBlocks = 6;

// A residual block with two products, an activation and dropout.
struct TestBlock {
  Tensor up, down;

  TestBlock(uint64_t seed, Device device)
      : up(random_tensor({4 * kWidth, kWidth}, seed, device)),
        down(random_tensor({kWidth, 4 * kWidth}, seed + 1, device)) {
    up.set_requires_grad();
    down.set_requires_grad();
  }
  Tensor forward(const Tensor& x) const {
    const Tensor hidden = dropout(gelu_tanh(linear(x, up)), 0.25f, dropout_seeds().next());
    return add(x, dropout(linear(hidden, down), 0.5f, dropout_seeds().next()));
  }
};

struct Outcome {
  float loss = 0;
  int64_t held = 0;  // bytes alive between forward and backward
  uint64_t seeds_drawn = 0;
  std::vector<std::vector<float>> gradients;
};

Outcome run(bool with_checkpoints, Device device) {
  std::vector<TestBlock> blocks;
  for (int64_t i = 0; i < kBlocks; ++i) blocks.emplace_back(10 * uint64_t(i), device);
  Tensor input = random_tensor({kRows, kWidth}, 99, device);
  input.set_requires_grad();
  dropout_seeds() = {.seed = 4, .calls = 0};

  const int64_t before = memory_counters().live_bytes;
  Tensor x = input;
  for (const TestBlock& block : blocks) {
    auto forward = [&block](const Tensor& t) { return block.forward(t); };
    x = with_checkpoints ? checkpoint(forward, x) : forward(x);
  }
  const Tensor loss = mean(mul(x, x));
  Outcome outcome;
  outcome.loss = loss.item();
  outcome.held = memory_counters().live_bytes - before;
  loss.backward();
  outcome.seeds_drawn = dropout_seeds().calls;
  outcome.gradients.push_back(input.grad().to_vector());
  for (const TestBlock& block : blocks) {
    outcome.gradients.push_back(block.up.grad().to_vector());
    outcome.gradients.push_back(block.down.grad().to_vector());
  }
  return outcome;
}

class Checkpoint : public testing::TestWithParam<Device> {};

TEST_P(Checkpoint, SameBitsLessMemory) {
  const Outcome plain = run(false, GetParam()), saved = run(true, GetParam());
  EXPECT_EQ(plain.loss, saved.loss);
  EXPECT_EQ(plain.seeds_drawn, saved.seeds_drawn);  // running again in backward does not move the counter
  EXPECT_EQ(plain.gradients, saved.gradients);      // also the masks were the same
  // Per block the graph keeps hidden (three times 4C) and C twice; a checkpoint keeps the output, C: more than 5x less.
  EXPECT_LT(5 * saved.held, plain.held);
}

TEST_P(Checkpoint, GivesParametersTheirGradientsWhenTheInputNeedsNone) {
  const TestBlock block(3, GetParam());
  const Tensor x = random_tensor({2, kWidth}, 1, GetParam());
  sum(checkpoint([&](const Tensor& t) { return block.forward(t); }, x)).backward();
  EXPECT_TRUE(block.up.has_grad());
  EXPECT_FALSE(x.requires_grad());
}

TEST_P(Checkpoint, ABlockWithNothingToTrainIsPassedOver) {
  Tensor w = random_tensor({3}, 1, GetParam());
  w.set_requires_grad();
  const Tensor x = random_tensor({3}, 2, GetParam());
  const Tensor frozen = checkpoint([](const Tensor& t) { return silu(t); }, x);
  sum(mul(frozen, w)).backward();
  EXPECT_EQ(w.grad().to_vector(), silu(x).to_vector());
}

TEST_P(Checkpoint, RecordsNothingUnderNoGrad) {
  const NoGrad no_grad;
  const TestBlock block(3, GetParam());
  const Tensor x = random_tensor({2, kWidth}, 1, GetParam());
  EXPECT_FALSE(checkpoint([&](const Tensor& t) { return block.forward(t); }, x).requires_grad());
}

TEST_P(Checkpoint, AnOuterTensorThatIsNoLeafIsRefused) {
  Tensor w = random_tensor({3}, 1, GetParam());
  w.set_requires_grad();
  const Tensor outer = silu(w);
  const Tensor y = checkpoint([&](const Tensor& t) { return mul(t, outer); }, w);
  EXPECT_MENTIONS(error_text([&] { sum(mul(y, outer)).backward(); }), "released");
}

INSTANTIATE_TEST_SUITE_P(Devices, Checkpoint, testing::Values(Device::Plain, Device::CPU), device_test_name);

}  // namespace
}  // namespace chalk
