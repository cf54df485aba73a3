// Dropout as an op: how much it keeps, that the mean stays, that both backends draw one mask, and its seeds.
#include <gtest/gtest.h>

#include <set>

#include "autograd/ops.h"
#include "autograd/random.h"
#include "tests/expect.h"

namespace chalk {
namespace {

class Dropout : public testing::TestWithParam<Device> {};

TEST_P(Dropout, KeepsTheRightShareAndTheMean) {
  const int64_t count = 100000;
  const Tensor x = Tensor::full({count}, 1, GetParam());
  for (float p : {0.1f, 0.5f, 0.9f}) {
    int64_t kept = 0;
    for (float y : dropout(x, p, 17).to_vector()) {
      if (y == 0) continue;
      EXPECT_EQ(y, 1 / (1 - p));
      ++kept;
    }
    // five standard deviations of a binomial
    EXPECT_NEAR(double(kept), count * (1 - p), 5 * std::sqrt(count * double(p) * (1 - p))) << p;
  }
}

TEST_P(Dropout, BackwardDrawsTheSameMask) {
  Tensor x = Tensor::full({1003}, 1, GetParam());
  x.set_requires_grad();
  const Tensor y = dropout(x, 0.4f, 3);
  sum(y).backward();
  EXPECT_EQ(x.grad().to_vector(), y.to_vector());
}

TEST_P(Dropout, SameMaskAsThePlainBackendWhateverTheSeed) {
  for (uint64_t seed : {uint64_t(0), uint64_t(1), ~uint64_t(0)}) {
    const Tensor x = Tensor::full({1003}, 1, GetParam());
    EXPECT_EQ(dropout(x, 0.4f, seed).to_vector(), dropout(x.to(Device::Plain), 0.4f, seed).to_vector());
  }
}

TEST_P(Dropout, ZeroIsTheInputItself) {
  const Tensor x = Tensor::full({4}, 1, GetParam());
  EXPECT_EQ(dropout(x, 0, 1).data(), x.data());
}

TEST(DropoutSeeds, EveryCallAndEveryStepHasItsOwn) {
  std::set<uint64_t> seen;
  for (uint64_t step = 0; step < 50; ++step) {
    DropoutSeeds seeds{.seed = derive_seed(1, step), .calls = 0};
    for (int call = 0; call < 50; ++call) seen.insert(seeds.next());
  }
  EXPECT_EQ(seen.size(), 2500u);
}

INSTANTIATE_TEST_SUITE_P(Devices, Dropout, testing::Values(Device::Plain, Device::CPU), device_test_name);

}  // namespace
}  // namespace chalk
