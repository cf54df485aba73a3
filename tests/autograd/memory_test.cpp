// The caching allocator under a training loop: after the first step nothing is asked of the system.
#include "kernels/memory.h"

#include <gtest/gtest.h>

#include "models/gpt2.h"
#include "nn/adamw.h"
#include "tests/autograd/random_tensor.h"
#include "tests/expect.h"

namespace chalk {
namespace {

TEST(Memory, CountsWhatIsAliveAndThePeak) {
  const MemoryCounters before = memory_counters();
  reset_peak_memory();
  {
    const Tensor a({1000}), b({1000});
    EXPECT_GE(memory_counters().live_bytes, before.live_bytes + 8000);
    // size classes waste at most one eighth
    EXPECT_LE(memory_counters().live_bytes, before.live_bytes + 8000 * 9 / 8 + 128);
  }
  EXPECT_EQ(memory_counters().live_bytes, before.live_bytes);
  EXPECT_GE(memory_counters().peak_bytes, before.live_bytes + 8000);
  reset_peak_memory();
  EXPECT_EQ(memory_counters().peak_bytes, before.live_bytes);
}

TEST(Memory, AFreedBlockIsHandedOutAgain) {
  float* first = nullptr;
  {
    const Tensor a({12345});
    first = a.data();
  }
  const int64_t requests = memory_counters().system_requests;
  const Tensor b({12345});
  EXPECT_EQ(b.data(), first);
  EXPECT_EQ(memory_counters().system_requests, requests);
  EXPECT_EQ(b.to_vector(), std::vector<float>(12345, 0.0f));  // and it is zero, whatever it held
}

TEST(Memory, EveryBlockIsAligned) {
  for (int64_t count : {1, 3, 16, 17, 1000, 600000}) {
    const Tensor a({count});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 64, 0u) << count;
  }
  EXPECT_EQ(Tensor({0}).numel(), 0);
}

TEST(Memory, CachedBlocksCanBeGivenBack) {
  { const Tensor a({1 << 20}); }
  EXPECT_GT(memory_counters().reserved_bytes, memory_counters().live_bytes);
  release_cached_memory();
  EXPECT_EQ(memory_counters().reserved_bytes, memory_counters().live_bytes);
}

TEST(Memory, AnAbsurdSizeIsAnErrorNotACrash) {
  EXPECT_THROW(Tensor({int64_t(1) << 50}), std::bad_alloc);
}

class TrainingMemory : public testing::TestWithParam<Device> {};

TEST_P(TrainingMemory, NothingIsAskedOfTheSystemAfterTheFirstStep) {
  const int64_t live_at_start = memory_counters().live_bytes;
  {
    GPT2 model({.vocab_size = 31, .n_positions = 16, .n_embd = 16, .n_layer = 2, .n_head = 2}, GetParam());
    model.init(1);
    AdamW optimizer(model.parameters(), {});
    IntTensor ids{{2, 16}, {}};
    for (int i = 0; i < 32; ++i) ids.values.push_back(i % 31);

    auto step = [&] {
      cross_entropy(model.forward(ids), ids.values).backward();
      optimizer.step(1, clip_coefficient(gradient_norm(optimizer.parameters), 1));
      optimizer.zero_grad();
    };
    step();
    const int64_t live = memory_counters().live_bytes, requests = memory_counters().system_requests;
    reset_peak_memory();
    for (int i = 0; i < 3; ++i) step();
    EXPECT_EQ(memory_counters().system_requests, requests);
    EXPECT_EQ(memory_counters().live_bytes, live);  // a step leaves nothing behind
    // Parameters, two moments, gradients at the end of backward: the peak is at least four times the parameters.
    EXPECT_GE(memory_counters().peak_bytes - live_at_start, 4 * 4 * model.parameter_count());
  }
  EXPECT_EQ(memory_counters().live_bytes, live_at_start);
}

INSTANTIATE_TEST_SUITE_P(Devices, TrainingMemory, testing::Values(Device::Plain, Device::CPU),
                         device_test_name);

}  // namespace
}  // namespace chalk
